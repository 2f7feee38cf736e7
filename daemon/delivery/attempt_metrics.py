"""Counting attempts and what became of deliveries, batch by batch as they are recorded."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from daemon.metrics import Labels, Metrics
from daemon.model import Outcome
from daemon.store.results import Result

MADE_LATER = 60.0
"""Seconds after which a delivery was not made by routing its event, but by redelivery or replay."""

_CLASSES = {None: "none", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_SUCCEEDED, _GIVEN_UP, _RETRY_AFTER = ("succeeded",), ("given_up",), ("retry_after",)


def count_attempts(metrics: Metrics, results: Iterable[Result]) -> None:
    """Count the requests that were made, whether or not their results can be recorded."""
    observe_seconds, observe_latency = metrics.attempt_seconds.observe, metrics.latency_seconds.observe
    attempts = metrics.attempts.values
    for one in results:
        key = _attempt(one)
        if key is None:
            continue
        attempts[key] = attempts.get(key, 0) + 1
        if one.duration is not None:
            observe_seconds(one.duration / 1000)
            if one.attempt == 1 and one.started is not None:
                observe_latency(latency(one.event_id, one.delivery_id, one.started))
        if one.error is not None:
            metrics.attempt_errors.add((one.error,))
            if one.hold is not None:
                metrics.throttled.add(_RETRY_AFTER)


def count_ends(metrics: Metrics, results: Sequence[Result], counted: Sequence[bool]) -> None:
    """Count the deliveries that ended with these results; only those that were recorded do."""
    succeeded = 0
    for one, recorded in zip(results, counted, strict=False):
        if not recorded:
            metrics.late_results.add()
        elif one.outcome is Outcome.SUCCEEDED:
            succeeded += 1
        elif one.outcome is Outcome.GIVEN_UP:
            count_given_up(metrics, one.reason or "", 1)
    if succeeded:
        metrics.deliveries.add(_SUCCEEDED, succeeded)


def count_given_up(metrics: Metrics, reason: str, count: int) -> None:
    """Count deliveries that were given up."""
    metrics.deliveries.add(_GIVEN_UP, count)
    metrics.given_up.add((reason,), count)


def latency(event_id: UUID, delivery_id: UUID, started: float) -> float:
    """Return the seconds from the publishing to `started` (Unix time); the ids, UUIDv7, carry their times."""
    published, made = (event_id.int >> 80) / 1000, (delivery_id.int >> 80) / 1000
    return max(0.0, started - (published if made - published < MADE_LATER else made))


def _attempt(result: Result) -> Labels | None:
    outcome = result.outcome
    if outcome is Outcome.UNSENT:
        return None
    name = "failed" if outcome is Outcome.RETRY or outcome is Outcome.GIVEN_UP else outcome.value
    status = result.status
    return name, _CLASSES.get(None if status is None else status // 100, "other")
