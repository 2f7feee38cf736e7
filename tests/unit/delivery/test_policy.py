"""What the outcome of an attempt means, exhaustively over codes and statuses."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.policy import (
    Exchanged,
    Verdict,
    classify,
    retry_delay,
)
from daemon.egress.errors import (
    BAD_ANSWER_ERRORS,
    CODES,
    HOST_ERRORS,
    REFUSED_ERRORS,
    UNANSWERED_ERRORS,
    Fault,
)
from daemon.model import LaneEffect, Outcome, Reason

SCHEDULE = [5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0]
ERRORS = sorted(HOST_ERRORS | UNANSWERED_ERRORS | BAD_ANSWER_ERRORS | REFUSED_ERRORS)

randoms = st.floats(0, 1, exclude_max=True)
jitters = st.floats(0, 1)
statuses = st.integers(100, 999)
waits = st.none() | st.floats(0, 1e9)


def judge(
    status: int | None = None, error: str | None = None, retry_after: float | None = None, **changed: Any
) -> Verdict:
    told = {name: changed.pop(name) for name in ("fault", "shortened", "late") if name in changed}
    settings: dict[str, Any] = {
        "failed_before": 0,
        "schedule": SCHEDULE,
        "jitter": 0.2,
        "retry_after_max": 86400.0,
        "random": 0.5,
    }
    return classify(Exchanged(status, error, retry_after, **told), **(settings | changed))


def test_every_error_of_an_exchange_has_one_meaning() -> None:
    assert sum(map(len, (HOST_ERRORS, UNANSWERED_ERRORS, BAD_ANSWER_ERRORS, REFUSED_ERRORS))) == len(ERRORS)
    assert set(ERRORS) == CODES


@given(st.integers(200, 299), waits, st.integers(0, 20), randoms)
def test_2xx_is_success(status: int, retry_after: float | None, failed_before: int, random: float) -> None:
    verdict = judge(status, None, retry_after, failed_before=failed_before, random=random)
    assert verdict == Verdict(Outcome.SUCCEEDED, None, None, None, False, LaneEffect.ANSWERED_WELL, None)
    assert verdict.host_reached


@pytest.mark.parametrize(
    "status, lane, error",
    [
        (301, LaneEffect.ANSWERED_WELL, "status_3xx"),
        (399, LaneEffect.ANSWERED_WELL, "status_3xx"),
        (400, LaneEffect.ANSWERED_WELL, "status_4xx"),
        (404, LaneEffect.ANSWERED_WELL, "status_4xx"),
        (429, LaneEffect.ANSWERED_BADLY, "status_4xx"),
        (499, LaneEffect.ANSWERED_WELL, "status_4xx"),
        (500, LaneEffect.ANSWERED_BADLY, "status_5xx"),
        (503, LaneEffect.ANSWERED_BADLY, "status_5xx"),
        (599, LaneEffect.ANSWERED_BADLY, "status_5xx"),
        (99, LaneEffect.ANSWERED_BADLY, "status_5xx"),
        (600, LaneEffect.ANSWERED_BADLY, "status_5xx"),
    ],
)
def test_other_answers_are_retried(status: int, lane: LaneEffect, error: str) -> None:
    verdict = judge(status)
    assert verdict == Verdict(Outcome.RETRY, None, 5.0, None, False, lane, error)
    assert verdict.host_reached


@pytest.mark.parametrize("error", ERRORS)
def test_errors_blame_the_host_the_lane_or_nobody(error: str) -> None:
    verdict = judge(None, error)
    assert (verdict.outcome, verdict.next_delay, verdict.error) == (Outcome.RETRY, 5.0, error)
    assert verdict.host_failed == (error in HOST_ERRORS)
    assert verdict.host_reached == (error in UNANSWERED_ERRORS | BAD_ANSWER_ERRORS)
    if error in UNANSWERED_ERRORS:
        assert verdict.lane is LaneEffect.UNANSWERED
    elif error in BAD_ANSWER_ERRORS:
        assert verdict.lane is LaneEffect.ANSWERED_BADLY
    else:
        assert verdict.lane is LaneEffect.NEUTRAL


@pytest.mark.parametrize("error", sorted(HOST_ERRORS))
def test_what_a_subscription_brings_about_itself_is_its_lanes(error: str) -> None:
    own_deadline = judge(None, error, fault=Fault.DEADLINE, shortened=True)
    own_request = judge(None, error, fault=Fault.REQUEST)
    for verdict in (own_deadline, own_request):
        assert (verdict.host_failed, verdict.host_reached, verdict.lane) == (
            False,
            False,
            LaneEffect.UNANSWERED,
        )
        assert (verdict.outcome, verdict.error) == (Outcome.RETRY, error)


@pytest.mark.parametrize("error", sorted(HOST_ERRORS))
def test_a_deadline_that_the_operator_set_is_the_hosts(error: str) -> None:
    verdict = judge(None, error, fault=Fault.DEADLINE, shortened=False)
    assert (verdict.host_failed, verdict.lane) == (True, LaneEffect.NEUTRAL)
    # What everybody would have met counts, however little time the subscription gives itself.
    assert judge(None, error, shortened=True).host_failed


@pytest.mark.parametrize("error", sorted(HOST_ERRORS))
def test_what_this_daemon_lacks_is_nobodys(error: str) -> None:
    verdict = judge(None, error, fault=Fault.DAEMON)
    assert (verdict.host_failed, verdict.host_reached, verdict.lane) == (False, False, LaneEffect.NEUTRAL)


@pytest.mark.parametrize("status", [200, 404, 410, 429, 500])
def test_a_late_answer_counts_by_its_status_and_to_the_lane_as_none(status: int) -> None:
    verdict, in_time = judge(status, None, 60.0, late=True), judge(status, None, 60.0)
    assert replace(verdict, lane=in_time.lane) == in_time
    assert verdict.lane is LaneEffect.UNANSWERED
    assert verdict.host_reached


def test_gone_gives_up_at_once() -> None:
    verdict = judge(410, None, 60.0)
    assert (verdict.outcome, verdict.reason, verdict.next_delay) == (Outcome.GIVEN_UP, Reason.GONE, None)
    assert verdict.error == "status_4xx"
    assert judge(410, failed_before=99).reason is Reason.GONE


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_the_lane_and_this_delivery(status: int) -> None:
    assert judge(status, None, 60.0).hold == 60.0
    assert judge(status, None, 60.0).next_delay == 60.0
    assert judge(status, None, 60.0, failed_before=1).next_delay == 300.0
    assert judge(status, None, 1e9).hold == 86400.0
    assert judge(status, None, 0.0).hold is None
    assert judge(status, None, 60.0, failed_before=9).hold == 60.0
    assert judge(status, "connection_lost", 60.0).hold is None


@given(statuses, waits)
def test_only_429_and_503_hold(status: int, retry_after: float | None) -> None:
    verdict = judge(status, None, retry_after)
    assert (verdict.hold is not None) == (status in (429, 503) and bool(retry_after))
    assert not verdict.host_failed


def test_neither_status_nor_error_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="pass one"):
        judge()


@given(
    st.none() | statuses,
    st.sampled_from([None, *ERRORS]),
    waits,
    st.sampled_from(Fault),
    st.booleans(),
    st.integers(0, 12),
    randoms,
    jitters,
)
def test_a_verdict_is_coherent(
    status: int | None,
    error: str | None,
    wait: float | None,
    fault: Fault,
    shortened: bool,
    before: int,
    random: float,
    jitter: float,
) -> None:
    if status is None and error is None:
        error = "timeout"
    verdict = judge(
        status,
        error,
        wait,
        fault=fault,
        shortened=shortened,
        failed_before=before,
        random=random,
        jitter=jitter,
    )
    assert (verdict.next_delay is not None) == (verdict.outcome is Outcome.RETRY)
    assert (verdict.reason is not None) == (verdict.outcome is Outcome.GIVEN_UP)
    assert (verdict.error is None) == (verdict.outcome is Outcome.SUCCEEDED)
    assert not (verdict.host_failed and verdict.host_reached)
    if verdict.outcome is Outcome.RETRY:
        assert before < len(SCHEDULE)
        assert (verdict.next_delay or 0) >= (verdict.hold or 0)
    if verdict.reason is Reason.EXHAUSTED:
        assert before >= len(SCHEDULE)


def test_the_schedule_is_walked_once_and_then_given_up() -> None:
    walked = [retry_delay(SCHEDULE, 0.2, failures, 0.5) for failures in range(1, 11)]
    assert walked == [*SCHEDULE, None]
    assert retry_delay([], 0.2, 1, 0.5) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), jitters, randoms, st.data())
def test_jitter_spreads_to_both_sides(
    schedule: list[float], jitter: float, random: float, data: st.DataObject
) -> None:
    failures = data.draw(st.integers(1, len(schedule)))
    delay, planned = retry_delay(schedule, jitter, failures, random), schedule[failures - 1]
    assert delay is not None
    assert planned * (1 - jitter) - 1e-6 <= delay <= planned * (1 + jitter) + 1e-6
    assert retry_delay([100.0], 0.2, 1, 0.0) == pytest.approx(80.0)
    assert retry_delay([100.0], 0.2, 1, 0.75) == pytest.approx(110.0)
