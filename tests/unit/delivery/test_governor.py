"""Bulk work yields to single events: when it waits, for how long, and how large its pieces are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.governor import (
    CLAIM_INTERVAL,
    FEW_REQUESTS,
    MAX_CLAIM,
    MAX_HEAD_START,
    MAX_REQUESTS,
    MAX_REST,
    MAX_ROUND_EVENTS,
    MIN_ROUND_EVENTS,
    REST_PART,
    ROUND_TIME,
    ROUND_TIME_ALONE,
    SINGLE_EVENTS_WINDOW,
    SLICES_WINDOW,
    SMALL_CLAIM,
    Governor,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def governor(clock: Clock) -> Governor:
    return Governor(clock)


def do_round(governor: Governor, clock: Clock, seconds: float) -> None:
    """Let a round of bulk work take so long."""
    began = clock.now
    clock.now += seconds
    governor.note_round(1, began, clock.now)


def test_alone_bulk_work_takes_all_there_is(governor: Governor, clock: Clock) -> None:
    do_round(governor, clock, 0.01)
    assert governor.rest() == governor.head_start() == 0.0
    assert governor.claim_size == MAX_CLAIM
    assert governor.requests_at_once == MAX_REQUESTS


def test_while_single_events_come_pieces_are_small_and_a_round_is_followed_by_a_rest(
    governor: Governor, clock: Clock
) -> None:
    governor.note_single()
    do_round(governor, clock, 0.01)
    assert governor.rest() == pytest.approx(0.01 * REST_PART)
    assert governor.claim_size == SMALL_CLAIM
    assert governor.requests_at_once == FEW_REQUESTS
    clock.now += 0.011 * REST_PART
    assert governor.rest() == 0.0


def test_a_round_that_hung_is_not_followed_by_a_rest_as_long(governor: Governor, clock: Clock) -> None:
    governor.note_single()
    do_round(governor, clock, SINGLE_EVENTS_WINDOW / 2)
    assert governor.rest() == pytest.approx(MAX_REST)


def test_a_while_after_the_last_single_event_there_are_no_more_rests(
    governor: Governor, clock: Clock
) -> None:
    governor.note_single()
    clock.now += SINGLE_EVENTS_WINDOW
    assert not governor.single_events_come
    do_round(governor, clock, 0.01)
    assert governor.rest() == 0.0


def test_nothing_begins_while_an_event_that_was_announced_is_on_its_way(
    governor: Governor, clock: Clock
) -> None:
    governor.announce()
    assert governor.event_on_its_way
    assert governor.single_events_come, "though none has come of late"
    assert governor.head_start() == pytest.approx(MAX_HEAD_START)
    clock.now += 0.003
    governor.end_announcement()
    assert governor.head_start() == 0.0


def test_an_announcement_ends_by_itself(governor: Governor, clock: Clock) -> None:
    governor.announce()
    clock.now += MAX_HEAD_START
    assert not governor.event_on_its_way
    assert governor.head_start() == 0.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.02)), max_size=200))
def test_whatever_is_announced_bulk_work_has_half_of_the_time(steps: list[tuple[bool, float]]) -> None:
    clock = Clock()
    governor = Governor(clock)
    waited = 0.0
    for announces, seconds in steps:
        governor.announce() if announces else governor.end_announcement()
        waited += min(seconds, governor.head_start())
        clock.now += seconds
    assert waited <= (clock.now - 100.0) / 2 + MAX_HEAD_START


def test_an_end_too_many_takes_no_time_from_anybody(governor: Governor, clock: Clock) -> None:
    governor.end_announcement()
    clock.now += 50.0
    governor.end_announcement()
    governor.announce()
    assert governor.event_on_its_way


@pytest.mark.parametrize("others, target", [(True, ROUND_TIME), (False, ROUND_TIME_ALONE)])
@given(each=st.floats(1e-6, 0.01), base=st.floats(0, 0.004))
def test_full_rounds_come_to_take_the_time_they_may(
    others: bool, target: float, each: float, base: float
) -> None:
    clock = Clock()
    governor = Governor(clock)
    for _ in range(60):
        if others:
            governor.note_single()
        began = clock.now
        clock.now += min(base + each * governor.round_events, SINGLE_EVENTS_WINDOW / 2)
        governor.note_round(governor.round_events, began, clock.now)
    seconds = base + each * governor.round_events
    assert MIN_ROUND_EVENTS <= governor.round_events <= MAX_ROUND_EVENTS
    assert seconds <= 1.3 * target or governor.round_events == MIN_ROUND_EVENTS
    assert seconds >= 0.7 * target or governor.round_events == MAX_ROUND_EVENTS


def test_one_slow_round_does_not_make_the_next_tiny(governor: Governor) -> None:
    before = governor.round_events
    governor.note_round(before, 0.0, 10.0)
    assert governor.round_events == before // 2


def test_a_round_of_fewer_events_says_nothing_of_the_time(governor: Governor) -> None:
    before = governor.round_events
    governor.note_round(1, 0.0, 10.0)
    assert governor.round_events == before


def test_claims_yield_to_slices_for_a_while_at_a_time(governor: Governor, clock: Clock) -> None:
    governor.note_slice()
    yields = [governor.claims_yield]  # none has been for long
    governor.note_claim()
    yields.append(governor.claims_yield)
    clock.now += CLAIM_INTERVAL * 1.01
    yields.append(governor.claims_yield)
    governor.note_claim()
    clock.now += SLICES_WINDOW
    governor.note_claim()
    yields.append(governor.claims_yield)  # routing has come to a halt
    assert yields == [False, True, False, False]
