from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pending_reason import Reason, waiting
from daemon.store.history import DeliveryState

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
FREE = DeliveryState(
    now=NOW,
    due=NOW,
    attempt=0,
    failures=0,
    leased=False,
    leased_until=None,
    is_active=True,
    disabled_reason=None,
    ahead=0,
    ordered=False,
    hold_until=None,
    lane_in_flight=0,
    lane_window=8,
    lane_rate=None,
    paced_until=None,
    host_key="https://example.com:443",
    host_in_flight=0,
    host_max_in_flight=64,
    share_in_flight=None,
    host_rate=1000.0,
    host_tokens=1000.0,
    circuit_open=False,
    blocked_until=None,
    catching_up=False,
)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


RETRIED = {"attempt": 2, "failures": 2}
BACK = {**RETRIED, "due": at(60), "catching_up": True}
PACED = {"lane_rate": 2.0, "paced_until": at(4)}  # two at once, so the next may go half a second earlier

TABLE = [
    ({}, Reason.QUEUE, None),
    ({"ahead": 7}, Reason.QUEUE, None),
    ({"leased": True, "leased_until": at(30)}, Reason.SENDING, 30),
    ({"leased": True, "leased_until": at(-1)}, Reason.SENDING, None),
    ({"leased": True, "leased_until": at(30), "is_active": False}, Reason.SENDING, 30),
    ({"is_active": False, "due": at(60)}, Reason.PAUSED, None),
    ({"due": at(60)}, Reason.DELIVER_AFTER, 60),
    ({"due": at(60), **RETRIED}, Reason.RETRY, 60),
    ({"due": at(60), "hold_until": at(90), **RETRIED}, Reason.RETRY_AFTER, 90),
    ({"due": at(60), "hold_until": at(30), **RETRIED}, Reason.RETRY, 60),
    ({"due": at(60), "hold_until": at(60), **RETRIED}, Reason.RETRY_AFTER, 60),
    ({"hold_until": at(30)}, Reason.RETRY_AFTER, 30),
    ({"hold_until": at(-30)}, Reason.QUEUE, None),
    ({"ordered": True, "ahead": 3}, Reason.ORDER, None),
    ({"ordered": True, "ahead": 3, "hold_until": at(30)}, Reason.ORDER, 30),
    ({"ordered": True, "lane_in_flight": 1, "lane_window": 1}, Reason.ORDER, None),
    ({"ordered": True, "ahead": 3, "due": at(60)}, Reason.DELIVER_AFTER, 60),
    ({"ordered": True, "hold_until": at(30), **RETRIED}, Reason.RETRY, 30),
    ({"ordered": True, "hold_until": at(30)}, Reason.RETRY_AFTER, 30),
    ({"circuit_open": True, "blocked_until": at(5)}, Reason.CIRCUIT, 5),
    ({"circuit_open": True, "blocked_until": at(5), "due": at(60), **RETRIED}, Reason.RETRY, 60),
    ({"circuit_open": True, "blocked_until": at(-5), "host_in_flight": 1}, Reason.CIRCUIT, None),
    ({"blocked_until": at(5)}, Reason.QUEUE, None),
    ({"lane_in_flight": 8}, Reason.IN_FLIGHT, None),
    ({"host_in_flight": 64}, Reason.IN_FLIGHT, None),
    ({"host_in_flight": 64, "share_in_flight": 1}, Reason.IN_FLIGHT, None),
    ({"host_in_flight": 32}, Reason.QUEUE, None),
    ({"host_in_flight": 32, "share_in_flight": 31}, Reason.QUEUE, None),
    ({"host_in_flight": 32, "share_in_flight": 32}, Reason.ORGANISATION_SHARE, None),
    (PACED, Reason.RATE, 3.5),
    ({**PACED, "paced_until": at(0.4)}, Reason.QUEUE, None),
    ({**PACED, "paced_until": at(0.4), "ahead": 10}, Reason.RATE, 4.9),
    ({"lane_rate": 2.0, "ahead": 1}, Reason.QUEUE, None),
    ({"lane_rate": 2.0, "ahead": 10}, Reason.RATE, 4.5),
    ({"lane_rate": 2.0, "ahead": 10, "lane_in_flight": 8}, Reason.IN_FLIGHT, None),
    ({"lane_rate": 0.01, "paced_until": at(100)}, Reason.RATE, 100),
    ({"host_tokens": 0.25, "host_rate": 0.5}, Reason.RATE, 1.5),
    ({**BACK, "ahead": 7}, Reason.CATCHING_UP, None),
    ({**BACK, "lane_in_flight": 8}, Reason.IN_FLIGHT, None),
    ({**BACK, "hold_until": at(30)}, Reason.RETRY_AFTER, 30),
    ({**BACK, "circuit_open": True, "blocked_until": at(5)}, Reason.CIRCUIT, 5),
]


@pytest.mark.parametrize(("change", "reason", "seconds"), TABLE)
def test_each_reason_has_its_time(change: dict[str, object], reason: Reason, seconds: float | None) -> None:
    found = waiting(replace(FREE, **change))  # type: ignore[arg-type]
    assert found.reason is reason
    assert found.until == (None if seconds is None else at(seconds))
    assert found.detail.endswith(".")


def test_every_reason_is_in_the_table() -> None:
    assert {reason for _, reason, _ in TABLE} == set(Reason)


@pytest.mark.parametrize(("why", "word"), [("gone", "410"), ("failing", "failed"), ("paused", "off")])
def test_a_pause_says_why(why: str, word: str) -> None:
    assert word in waiting(replace(FREE, is_active=False, disabled_reason=why)).detail


moments = st.none() | st.floats(-1000, 1000).map(at)
counts = st.integers(0, 1000)
states = st.builds(
    DeliveryState,
    now=st.just(NOW),
    due=st.floats(-1000, 1000).map(at),
    attempt=st.integers(0, 10),
    failures=st.integers(0, 10),
    leased=st.booleans(),
    leased_until=moments,
    is_active=st.booleans(),
    disabled_reason=st.sampled_from([None, "gone", "failing", "paused"]),
    ahead=counts,
    ordered=st.booleans(),
    hold_until=moments,
    lane_in_flight=counts,
    lane_window=st.integers(1, 1000),
    lane_rate=st.none() | st.floats(1e-12, 1e9),
    paced_until=moments,
    host_key=st.just("https://example.com:443"),
    host_in_flight=counts,
    host_max_in_flight=st.integers(1, 1000),
    share_in_flight=st.none() | counts,
    host_rate=st.floats(1e-12, 1e9),
    host_tokens=st.floats(-10, 1000),
    circuit_open=st.booleans(),
    blocked_until=moments,
    catching_up=st.booleans(),
)


@given(states)
def test_the_time_is_always_to_come(state: DeliveryState) -> None:
    found = waiting(state)
    assert found.until is None or found.until > NOW
    assert (found.reason is Reason.SENDING) == state.leased
    assert (found.reason is Reason.PAUSED) == (not state.is_active and not state.leased)
    if found.reason in (Reason.RETRY, Reason.RETRY_AFTER, Reason.DELIVER_AFTER, Reason.RATE):
        assert found.until is not None


@given(states)
def test_nothing_that_ends_later_is_kept_back(state: DeliveryState) -> None:
    found = waiting(state)
    if found.reason in (Reason.SENDING, Reason.PAUSED, Reason.ORDER):
        return
    due = None if state.catching_up else state.due
    ends = [due, state.hold_until, state.blocked_until if state.circuit_open else None]
    for end in ends:
        if end is not None and end > NOW:
            assert found.until is not None
            assert found.until >= end


@given(states)
def test_when_its_time_has_come_something_else_is_told(state: DeliveryState) -> None:
    found = waiting(state)
    if found.until is None or found.reason is Reason.SENDING:
        return
    filled = state.host_tokens + (found.until - NOW).total_seconds() * state.host_rate
    later = waiting(replace(state, now=found.until, host_tokens=filled + 1e-6))
    assert later.until is None or later.until > found.until


@given(states)
def test_what_is_free_to_go_is_in_the_queue(state: DeliveryState) -> None:
    free = replace(
        state,
        due=NOW,
        leased=False,
        is_active=True,
        ahead=0,
        hold_until=None,
        lane_in_flight=0,
        paced_until=None,
        host_in_flight=0,
        share_in_flight=None,
        host_tokens=1.0,
        circuit_open=False,
        catching_up=False,
    )
    assert waiting(free).reason is Reason.QUEUE
