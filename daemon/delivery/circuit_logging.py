"""What operators read about circuits that open and close. Never a URL's path."""

import logging
from collections.abc import Iterable

from daemon.delivery.readable_duration import readable
from daemon.store.results import Circuit, Result

logger = logging.getLogger("hookd.delivery")


class CircuitLog:
    """Remembers which circuits this daemon has called open, so that each change is told once."""

    def __init__(self) -> None:
        self._trips: dict[int, tuple[int, str]] = {}

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
