"""Token buckets of organisations."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rate_limits import NO_LIMIT, Rate, RateLimits

ORG = UUID(int=1)
LIMITS = st.builds(Rate, st.sampled_from([0.01, 0.5, 1.0, 3.0, 10.0, 1000.0]), st.floats(1, 50))


def allowed(limits: RateLimits, limit: Rate, now: float, org: UUID = ORG) -> bool:
    state = limits.take(org, limit, now)
    assert state is not None
    return state.allowed


def test_a_burst_passes_and_then_the_rate() -> None:
    limits, limit = RateLimits(), Rate(10, 5)
    assert [allowed(limits, limit, 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not allowed(limits, limit, 100.09)
    assert allowed(limits, limit, 100.1)
    assert not allowed(limits, limit, 100.1)
    assert [allowed(limits, limit, 101.0) for _ in range(6)] == [True] * 5 + [False]


def test_organisations_do_not_share_a_bucket() -> None:
    limits, limit = RateLimits(), Rate(1, 1)
    assert allowed(limits, limit, 0.0)
    assert allowed(limits, limit, 0.0, uuid4())
    assert not allowed(limits, limit, 0.0)


def test_no_limit_says_nothing_and_keeps_nothing() -> None:
    limits = RateLimits()
    assert limits.take(ORG, NO_LIMIT, 0.0) is None
    assert len(limits) == 0


def test_the_fields_tell_policy_and_standing() -> None:
    limits, limit = RateLimits(), Rate(2, 3)
    first = limits.take(ORG, limit, 0.0)
    assert first is not None
    assert first.fields() == {"RateLimit-Policy": '"default";q=3;w=2', "RateLimit": '"default";r=2;t=1'}
    for _ in range(2):
        last = limits.take(ORG, limit, 0.0)
    assert last is not None
    assert last.fields()["RateLimit"] == '"default";r=0;t=1'


def test_a_refusal_says_when_to_come_again() -> None:
    limits, limit = RateLimits(), Rate(0.1, 1)
    limits.take(ORG, limit, 0.0)
    state = limits.take(ORG, limit, 4.0)
    assert state is not None
    problem = state.refusal()
    assert (problem.status, problem.headers) == (429, {"Retry-After": "6"})
    assert state.fields()["RateLimit"] == '"default";r=0;t=6'
    assert allowed(limits, limit, 10.0)


@given(LIMITS, st.lists(st.floats(0, 5), max_size=200))
def test_no_window_holds_more_than_the_burst_and_the_rate(limit: Rate, waits: list[float]) -> None:
    limits, now, passed = RateLimits(), 1000.0, []
    for wait in waits:
        now += wait
        if allowed(limits, limit, now):
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= limit.burst + (passed[last] - begin) * limit.rate + 0.001


@given(LIMITS, st.integers(1, 60))
def test_who_comes_when_told_to_is_let_in(limit: Rate, requests: int) -> None:
    limits, now = RateLimits(), 1000.0
    for _ in range(requests):
        state = limits.take(ORG, limit, now)
        assert state is not None
        if not state.allowed:
            now += int(state.refusal().headers["Retry-After"])
            assert allowed(limits, limit, now)


def test_lower_limits_after_a_reload_make_nobody_wait_for_longer_than_they_say() -> None:
    limits = RateLimits()
    for _ in range(1000):
        limits.take(ORG, Rate(1, 1000), 0.0)
    state = limits.take(ORG, Rate(1, 10), 0.0)
    assert state is not None
    assert not state.allowed
    assert state.reset <= 1


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_full_buckets_are_forgotten(pause: float) -> None:
    limits, limit = RateLimits(), Rate(10, 5)
    for number in range(50_000):
        limits.take(UUID(int=number), limit, number * pause)
    assert (len(limits) == 50_000) is (pause == 0)
    assert pause == 0 or len(limits) <= 1024
    limits.take(ORG, limit, 1e6)
    for number in range(100_000):
        limits.take(UUID(int=number), limit, 1e6 + 1 + number)
    assert len(limits) <= 1024
