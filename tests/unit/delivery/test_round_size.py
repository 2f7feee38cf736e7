"""How many events a round of routing looks at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.round_size import ALONE, BESIDE, FIRST, LATELY, LEAST, MOST, RoundSize


@pytest.mark.parametrize("others, target", [(True, BESIDE), (False, ALONE)])
@given(each=st.floats(1e-6, 0.01), base=st.floats(0, 0.004))
def test_full_rounds_come_to_take_the_time_they_may(
    others: bool, target: float, each: float, base: float
) -> None:
    size = RoundSize()
    for number in range(60):
        if others:
            size.note(1, 0.001, number, cut=False)
        size.note(size.events, base + each * size.events, number + LATELY / 2, cut=True)
    seconds = base + each * size.events
    assert LEAST <= size.events <= MOST
    assert seconds <= 1.3 * target or size.events == LEAST
    assert seconds >= 0.7 * target or size.events == MOST


def test_one_slow_round_does_not_make_the_next_tiny() -> None:
    size = RoundSize()
    size.note(FIRST, 10.0, 0.0, cut=True)
    assert size.events == FIRST // 2


@pytest.mark.parametrize("cut", [True, False])
def test_a_round_of_fewer_events_says_nothing_of_the_time(cut: bool) -> None:
    size = RoundSize()
    size.note(1, 10.0, 0.0, cut=cut)
    assert size.events == FIRST
