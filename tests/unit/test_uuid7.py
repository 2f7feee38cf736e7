import time

from hypothesis import given
from hypothesis import strategies as st

from daemon.uuid7 import NewIds, uuid7, uuid7_time


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1_773_144_000.0

    def __call__(self) -> float:
        return self.time


def test_ids_made_one_after_another_rise() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(100):
        made = uuid7()
        assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_ids_rise_while_the_clock_stands_and_below_a_millisecond() -> None:
    now = Now()
    new_id = NewIds(now)
    made = [new_id() for _ in range(3)]
    now.time += 0.00001
    made.append(new_id())
    assert made == sorted(made)
    assert uuid7_time(made[-1]) == uuid7_time(made[0])


def test_the_twelve_bits_hold_parts_of_a_millisecond() -> None:
    now = Now()
    now.time += 0.0005
    assert NewIds(now)().int >> 64 & 0xFFF == 2048


def test_ids_rise_over_a_clock_that_is_set_back_a_little() -> None:
    now = Now()
    new_id = NewIds(now)
    before = new_id()
    now.time -= 9
    after = new_id()
    assert after > before
    assert (uuid7_time(after) - uuid7_time(before)).total_seconds() == 0


def test_a_clock_that_was_far_ahead_is_followed_back() -> None:
    now = Now()
    new_id = NewIds(now)
    now.time += 86_400
    new_id()
    now.time -= 86_400
    assert uuid7_time(new_id()).timestamp() == now.time


@given(st.integers(0, 4_000_000_000_000))
def test_an_explicit_time_stands_in_the_id_to_the_millisecond(milliseconds: int) -> None:
    # Whole milliseconds have no exact float; half-way to the next they all fall within theirs.
    made = uuid7((milliseconds + 0.5) / 1000)
    assert made.int >> 80 == milliseconds


def test_an_explicit_time_does_not_move_the_others() -> None:
    uuid7(time.time() + 3600)
    assert abs(uuid7_time(uuid7()).timestamp() - time.time()) < 60
