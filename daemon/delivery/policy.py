"""What the outcome of an attempt means for the delivery, its lane and its host. Pure: no clock, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.egress.errors import BAD_ANSWER_ERRORS, HOST_ERRORS, UNANSWERED_ERRORS, Fault
from daemon.model import LaneEffect, Outcome, Reason

_GONE = 410
_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503


@dataclass(slots=True)
class Exchanged:
    """What came of one request: a final `status`, or the `error_code` of an exchange that failed.

    `retry_after` is what the answer asks for in seconds. `fault` says what brought the error about,
    `shortened` that the subscription sets itself less time than the operator gives: only what everybody would
    have met counts against a host that others use as well. `late`: the answer's body had not ended when the
    time was up. Its status counts for the delivery, but to the lane it is no answer in time, as it held a
    sender for as long as none.
    """

    status: int | None = None
    error_code: str | None = None
    retry_after: float | None = None
    fault: Fault = Fault.HOST
    shortened: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one attempt.

    `next_delay` is in seconds from now and set only for a retry; `hold` is how many seconds the whole lane
    must rest; `error` is the stable code for the history, None for a success. `host_failed` counts towards
    the host's circuit; a host that was reached (`host_reached`) closes it, and after neither it stays as it
    was.
    """

    outcome: Outcome
    reason: Reason | None
    next_delay: float | None
    hold: float | None
    host_failed: bool
    lane: LaneEffect
    error: str | None

    @property
    def host_reached(self) -> bool:
        """Whether a connection to the host stood, so that its circuit closes."""
        return self.lane is not LaneEffect.NEUTRAL and self.error not in HOST_ERRORS


_SUCCESS = Verdict(Outcome.SUCCEEDED, None, None, None, False, LaneEffect.ANSWERED_WELL, None)
_LATE_SUCCESS = Verdict(Outcome.SUCCEEDED, None, None, None, False, LaneEffect.UNANSWERED, None)


def classify(
    exchange: Exchanged,
    *,
    failed_before: int,
    schedule: Sequence[float],
    jitter: float,
    retry_after_max: float,
    random: float,
) -> Verdict:
    """Judge an attempt by its answer's status, or by the error code of the exchange, which goes first.

    `Retry-After` is heard with 429 (RFC 6585 section 4) and 503 (RFC 9110 section 15.6.4) and bounded by
    `retry_after_max`. `failed_before` counts the delivery's failed attempts before this one; `schedule`,
    `jitter` and `random` are as in `retry_delay`. Raises `ValueError` without status and error.
    """
    status, error_code, late = exchange.status, exchange.error_code, exchange.late
    if status is None and error_code is None:
        raise ValueError("an attempt ends with a status or an error code; pass one of them")
    if error_code is None and status is not None and 200 <= status < 300:
        return _LATE_SUCCESS if late else _SUCCESS
    error = error_code or _status_error(status or 0)
    answered = status if error_code is None else None
    hold = None
    asked = exchange.retry_after
    if answered in (_TOO_MANY_REQUESTS, _UNAVAILABLE) and asked is not None and asked > 0:
        hold = min(asked, retry_after_max)
    fault = exchange.fault
    if error in HOST_ERRORS and fault is Fault.DEADLINE and not exchange.shortened:
        fault = Fault.HOST
    lane = LaneEffect.UNANSWERED if late else _lane_effect(answered, error, fault)
    host_failed = error in HOST_ERRORS and fault is Fault.HOST
    if answered == _GONE:
        return Verdict(Outcome.GIVEN_UP, Reason.GONE, None, None, False, lane, error)
    delay = retry_delay(schedule, jitter, failed_before + 1, random)
    if delay is None:
        return Verdict(Outcome.GIVEN_UP, Reason.EXHAUSTED, None, hold, host_failed, lane, error)
    # While the lane is held this delivery cannot go either, so the time that is told is the later one.
    return Verdict(Outcome.RETRY, None, max(delay, hold or 0.0), hold, host_failed, lane, error)


def retry_delay(schedule: Sequence[float], jitter: float, failures: int, random: float) -> float | None:
    """Return the seconds to wait after the `failures`-th failed attempt (from 1), or None to give up.

    `random` is uniform in [0, 1) and spreads the delay evenly over `jitter` (a share, 0.2 is 20 %) to both
    sides.
    """
    if failures > len(schedule):
        return None
    return _spread(schedule[failures - 1], jitter, random)


def _spread(seconds: float, jitter: float, random: float) -> float:
    return seconds * (1.0 + jitter * (2.0 * random - 1.0))


def _status_error(status: int) -> str:
    # A final answer is 2xx to 5xx; RFC 9110 section 15 lets other numbers count as 5xx.
    return f"status_{status // 100}xx" if 300 <= status < 600 else "status_5xx"


def _lane_effect(answered: int | None, error: str, fault: Fault) -> LaneEffect:
    if answered is not None:
        well = 300 <= answered < 500 and answered != _TOO_MANY_REQUESTS
        return LaneEffect.ANSWERED_WELL if well else LaneEffect.ANSWERED_BADLY
    own_doing = error in HOST_ERRORS and fault in (Fault.DEADLINE, Fault.REQUEST)
    if error in UNANSWERED_ERRORS or own_doing:
        return LaneEffect.UNANSWERED
    if error in BAD_ANSWER_ERRORS:
        return LaneEffect.ANSWERED_BADLY
    return LaneEffect.NEUTRAL
