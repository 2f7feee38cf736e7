"""While a burst is being published its router rests, though not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.arrival import AGAIN, LATELY, LONGEST, LOOK_EVERY, REST, Arrival


def test_there_is_no_rest_before_many_have_come_since_the_look_before() -> None:
    arrival = Arrival()
    assert arrival.rest(0.0) == 0.0
    arrival.note([(3, 700, 700)], 0.0)
    assert arrival.rest(0.0) == 0.0, "all of it may have been published before"
    arrival.note([(3, 700, 700)], 1.0)
    assert arrival.rest(1.0) == 0.0
    arrival.note([(3, 712, 700)], 2.0)
    assert arrival.rest(2.0) == 0.0, "something has come, but not many"


def test_it_rests_for_a_while_after_many_have_come() -> None:
    arrival = Arrival()
    arrival.note([(3, 700, 700)], 0.0)
    arrival.note([(3, 704, 704)], 1.0)
    assert arrival.rest(1.0) == REST
    arrival.note([(3, 704, 704)], 1.4)
    assert arrival.rest(1.4) == REST, "the next transaction may be under way"
    assert arrival.rest(1.0 + LATELY) == 0.0


def test_a_crowd_that_begins_or_ends_is_no_arrival() -> None:
    arrival = Arrival()
    arrival.note([(3, 700, 700), (4, 701, 701)], 0.0)
    arrival.note([(4, 701, 701)], 1.0)
    arrival.note([(4, 701, 701), (9, 850, 850)], 2.0)
    arrival.note([], 3.0)
    arrival.note([(4, 990, 990)], 4.0)
    assert arrival.rest(4.0) == 0.0


@given(st.lists(st.floats(min_value=0.0, max_value=2.0), max_size=200))
def test_whoever_never_ceases_to_publish_is_held_back_for_so_long_and_no_longer(pauses: list[float]) -> None:
    arrival = Arrival()
    now, held_back = 100.0, 0.0
    for number, pause in enumerate([0.0, *pauses]):
        now += pause
        arrival.note([(3, number, number)], now)
        assert not arrival.look_due(now)
        assert arrival.look_due(now + LOOK_EVERY)
        if arrival.rest(now):
            held_back += min(pause, LATELY)
    assert held_back <= LONGEST * (1 + (now - 100.0) // AGAIN) + 2.0
