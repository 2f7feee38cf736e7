import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import model
from daemon.model import uuid7, uuid7_time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in nanoseconds, as the only item."""
    now = [1_773_144_000_000_000_000]
    monkeypatch.setattr(time, "time_ns", lambda: now[0])
    monkeypatch.setattr(model, "_last_tick", 0)
    return now


def test_ids_made_one_after_another_rise() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(100):
        made = uuid7()
        assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_ids_rise_while_the_clock_stands_and_below_a_millisecond(clock: list[int]) -> None:
    made = [uuid7() for _ in range(3)]
    clock[0] += 10_000  # nanoseconds
    made.append(uuid7())
    assert made == sorted(made)
    assert uuid7_time(made[-1]) == uuid7_time(made[0])


def test_the_twelve_bits_hold_parts_of_a_millisecond(clock: list[int]) -> None:
    clock[0] += 500_000
    assert uuid7().int >> 64 & 0xFFF == 2048


def test_ids_rise_over_a_clock_that_is_set_back_a_little(clock: list[int]) -> None:
    before = uuid7()
    clock[0] -= 9_000_000_000
    after = uuid7()
    assert after > before
    assert (uuid7_time(after) - uuid7_time(before)).total_seconds() == 0


def test_a_clock_that_was_far_ahead_is_followed_back(clock: list[int]) -> None:
    clock[0] += 86_400_000_000_000
    uuid7()
    clock[0] -= 86_400_000_000_000
    assert uuid7_time(uuid7()).timestamp() == clock[0] / 1e9


@given(st.integers(0, 4_000_000_000_000))
def test_an_explicit_time_stands_in_the_id_to_the_millisecond(milliseconds: int) -> None:
    # Whole milliseconds have no exact float; half-way to the next they all fall within theirs.
    made = uuid7((milliseconds + 0.5) / 1000)
    assert made.int >> 80 == milliseconds


def test_an_explicit_time_does_not_move_the_others() -> None:
    uuid7(time.time() + 3600)
    assert abs(uuid7_time(uuid7()).timestamp() - time.time()) < 60
