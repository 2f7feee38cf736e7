"""What operators read about attempts: a line for each that failed or recovered.

Never a URL's path, a payload or a secret.
"""

import logging

from daemon.delivery.readable_duration import readable
from daemon.model import Outcome
from daemon.store.results import Result

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
