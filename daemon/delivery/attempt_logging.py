"""What operators read about attempts: a line for each that failed or recovered, and for circuits that change.

Never a URL's path, a payload or a secret.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from daemon.model import Outcome
from daemon.store.results import Circuit, Result

logger = logging.getLogger("hookd.delivery")


def log_attempt(result: Result, host: str, detail: str | None) -> None:
    """Log an attempt: given up is a warning, failed or recovered an info, good at once a debug line."""
    level = logging.INFO
    if result.outcome is Outcome.GIVEN_UP:
        level = logging.WARNING
    elif result.outcome is Outcome.SUCCEEDED and result.attempt == 1:
        level = logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    status = "" if result.status is None else f" {result.status}"
    said = "" if result.error is None else f"{result.error}{status}{f' ({detail})' if detail else ''}, "
    end, repeats_as = "succeeded", f"attempts to {host} that succeeded after others"
    if result.outcome is Outcome.GIVEN_UP:
        end = f"given up ({result.reason})"
        repeats_as = f"deliveries to {host} {end}: {result.error}{status}"
    elif result.outcome is not Outcome.SUCCEEDED:
        end = f"next attempt in {readable(result.delay or 0)}"
        repeats_as = f"attempts to {host}: {result.error}{status}"
    logger.log(
        level,
        "attempt %s to %s: %s%s",
        result.attempt,
        host,
        said,
        end,
        extra={
            "event_type": result.event_type,
            "event_id": str(result.event_id),
            "delivery_id": str(result.delivery_id),
            "subscription_id": str(result.subscription_id),
            "repeats_as": repeats_as,
        },
    )


@dataclass(slots=True)
class CircuitLog:
    """Remembers which circuits this daemon has called open, so that each change is told once."""

    _trips: dict[int, tuple[int, str]]

    def __init__(self) -> None:
        self._trips = {}

    def note(self, results: Iterable[Result], circuits: Iterable[Circuit]) -> int:
        """Log what has changed: `circuits` are those that are open now among the hosts of `results`.

        Returns how many have opened.
        """
        opened = 0
        still = {one.host_id: one for one in circuits}
        for circuit in still.values():
            if self._trips.get(circuit.host_id, (0, ""))[0] != circuit.trips:
                self._trips[circuit.host_id] = (circuit.trips, circuit.name)
                opened += 1
                if circuit.trips & (circuit.trips - 1):
                    continue  # one that stays away is told of after 1, 2, 4, 8… times
                logger.warning(
                    "no connection to %s, several times in a row: nothing is sent there for %s, then one"
                    " request tries again",
                    circuit.name,
                    readable(circuit.blocked_for),
                )
        for host_id in {one.host_id for one in results if one.host_failed is False}:
            if host_id not in still and host_id in self._trips:
                logger.info("%s accepts connections again", self._trips.pop(host_id)[1])
        return opened


def readable(seconds: float) -> str:
    """Return a duration for people: 4.2s, 5m 3s, 2h 0m, 3d 4h."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"
