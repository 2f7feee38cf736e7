"""While a burst is being published its router rests, though not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.arrival import LATELY, LONGEST, LOOK_EVERY, REST, Arrival


def test_there_is_no_rest_before_something_newer_has_come() -> None:
    arrival = Arrival()
    assert arrival.rest(0.0) == 0.0
    arrival.note({3: "700"}, 0.0)
    assert arrival.rest(0.0) == 0.0, "all of it may have been published before"
    arrival.note({3: "700"}, 1.0)
    assert arrival.rest(1.0) == 0.0


def test_it_rests_for_a_while_after_something_newer_has_come() -> None:
    arrival = Arrival()
    arrival.note({3: "700"}, 0.0)
    arrival.note({3: "704"}, 1.0)
    assert arrival.rest(1.0) == REST
    arrival.note({3: "704"}, 1.4)
    assert arrival.rest(1.4) == REST, "the next transaction may be under way"
    assert arrival.rest(1.0 + LATELY) == 0.0


def test_a_shard_that_was_emptied_is_nothing_new_and_another_crowd_is() -> None:
    arrival = Arrival()
    arrival.note({3: "700", 4: "701"}, 0.0)
    arrival.note({4: "701"}, 1.0)
    assert arrival.rest(1.0) == 0.0
    arrival.note({4: "701", 9: "650"}, 2.0)
    assert arrival.rest(2.0) == REST


def test_what_another_publishes_in_between_changes_nothing() -> None:
    arrival = Arrival()
    arrival.note({3: "700"}, 0.0)
    arrival.note({}, 1.0)
    assert arrival.rest(1.0) == 0.0
    arrival.note({3: "700"}, 2.0)
    assert arrival.rest(2.0) == 0.0
    arrival.note({}, LONGEST - 1)
    arrival.note({3: "701"}, LONGEST - 0.1)
    assert arrival.rest(LONGEST - 0.1) == REST
    assert arrival.rest(LONGEST) == 0.0


def test_the_next_crowd_has_its_own_rests() -> None:
    arrival = Arrival()
    arrival.note({3: "700"}, 0.0)
    arrival.note({3: "701"}, 1.0)
    arrival.end()
    assert arrival.rest(1.0) == 0.0
    arrival.note({3: "900"}, 100.0)
    arrival.note({3: "901"}, 101.0)
    assert arrival.rest(101.0) == REST


@given(st.lists(st.floats(min_value=0.0, max_value=2.0), max_size=60))
def test_whoever_never_ceases_to_publish_is_held_back_for_so_long_and_no_longer(pauses: list[float]) -> None:
    arrival = Arrival()
    now = 0.0
    for number, pause in enumerate([0.0, *pauses]):
        now += pause
        arrival.note({3: str(number)}, now)
        assert not arrival.look_due(now)
        assert arrival.look_due(now + LOOK_EVERY)
        if now >= LONGEST:
            assert arrival.rest(now) == 0.0
