"""How many events a round of routing looks at."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.round_size import FIRST, LEAST, MOST, TARGET, RoundSize


@given(each=st.floats(1e-6, 0.01), base=st.floats(0, 0.004))
def test_full_rounds_come_to_take_the_time_they_may(each: float, base: float) -> None:
    size = RoundSize()
    for _ in range(60):
        assert size.note(size.events, base + each * size.events)
    seconds = base + each * size.events
    assert LEAST <= size.events <= MOST
    assert seconds <= 1.3 * TARGET or size.events == LEAST
    assert seconds >= 0.7 * TARGET or size.events == MOST


def test_one_slow_round_does_not_make_the_next_tiny() -> None:
    size = RoundSize()
    size.note(FIRST, 10.0)
    assert size.events == FIRST // 2


def test_a_round_that_was_not_full_says_nothing() -> None:
    size = RoundSize()
    assert not size.note(FIRST - 1, 10.0)
    assert size.events == FIRST
