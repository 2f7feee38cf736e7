from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.fair_queue import REMEMBERED, FairQueue


def turns_of(*hosts: int) -> FairQueue[tuple[int, int]]:
    turns = FairQueue[tuple[int, int]]()
    for number, host in enumerate(hosts):
        turns.push(host, (host, number))
    return turns


def drained(turns: FairQueue[tuple[int, int]]) -> list[int]:
    return [turns.pop()[0] for _ in range(len(turns))]


def test_hosts_take_turns() -> None:
    assert drained(turns_of(1, 1, 1, 2, 2, 3)) == [1, 2, 3, 1, 2, 1]


def test_who_comes_late_waits_for_one_turn_and_not_behind_a_backlog() -> None:
    turns = turns_of(*[1] * 100)
    assert [turns.pop()[0] for _ in range(10)] == [1] * 10
    turns.push(2, (2, 0))
    assert 2 in [turns.pop()[0] for _ in range(3)]


def test_who_was_away_has_saved_up_no_turns() -> None:
    turns = turns_of(*[1] * 100, 2)
    while turns.pop()[0] != 2:
        pass
    for _ in range(50):
        turns.pop()
    for number in range(10):
        turns.push(2, (2, number))
    assert Counter(turns.pop()[0] for _ in range(10))[2] <= 6


def test_who_has_one_after_the_other_keeps_nobody_waiting() -> None:
    turns = turns_of(1, 2, 2)
    order = []
    for number in range(6):
        order.append(turns.pop()[0])
        if order[-1] == 1:
            turns.push(1, (1, number))
    assert order[:5].count(2) == 2


def test_who_comes_does_not_wait_for_all_that_have_a_backlog() -> None:
    turns = turns_of(*range(100), *range(100))
    for _ in range(150):
        turns.pop()
    turns.push(100, (100, 0))
    assert turns.pop()[0] == 100


@pytest.mark.parametrize("before", [0, 500], ids=["few", "many before"])
def test_those_who_come_keep_a_backlog_waiting_for_two_rounds_at_most(before: int) -> None:
    turns = turns_of(*range(1, 1 + before), *[0] * 1000)
    for _ in range(before):
        turns.pop()
    since = 0
    for host in range(1000, 2000):
        turns.push(host, (host, 0))
        two_rounds = 2 * len(turns._of_host)
        since = 0 if turns.pop()[0] == 0 else since + 1
        assert since <= two_rounds


def test_what_was_published_just_now_goes_before_a_hundred_hosts_that_are_owed_a_turn() -> None:
    turns = turns_of(*range(100))
    turns.push(100, (100, 0), fresh=True)
    turns.push(101, (101, 0), fresh=True)
    first = [turns.pop()[0] for _ in range(4)]
    assert {100, 101} < set(first)
    assert sorted(first + drained(turns)) == list(range(102))


def test_what_is_published_without_end_takes_every_other_turn_and_no_more() -> None:
    turns = turns_of(*[0] * 100, 1, 1)
    served: Counter[int] = Counter()
    for host in range(1000, 1100):
        turns.push(host, (host, 0), fresh=True)
        served[min(2, turns.pop()[0])] += 1
    assert (served[0], served[1], served[2]) == (48, 2, 50)


def test_one_event_after_the_other_of_a_host_keeps_its_order_and_its_place() -> None:
    turns = turns_of(1, 1, 2)
    turns.push(1, (1, 3), fresh=True)
    turns.push(3, (3, 4), fresh=True)
    turns.push(3, (3, 5), fresh=True)
    found = [turns.pop() for _ in range(6)]
    assert [item for item in found if item[0] == 1] == [(1, 0), (1, 1), (1, 3)]
    assert [item for item in found if item[0] == 3] == [(3, 4), (3, 5)]


def test_who_comes_again_at_once_waits_for_the_round() -> None:
    turns = turns_of(*list(range(20)) * 4, 20)
    while turns.pop()[0] != 20:
        pass
    turns.push(20, (20, 1))
    waited = 0
    while turns.pop()[0] != 20:
        waited += 1
    assert waited >= 10


def test_hosts_that_have_nothing_left_are_forgotten() -> None:
    turns = turns_of(0)
    for host in range(1, 5 * REMEMBERED):
        turns.push(host, (host, 0))
        turns.pop()
    assert len(turns._of_host) == len(turns._round) + len(turns._owed) == len(turns) <= 2
    assert len(turns._last) <= REMEMBERED + 2 * len(turns._of_host) + 1


@given(st.lists(st.integers(0, 4) | st.none(), max_size=60))
def test_a_host_keeps_its_order_and_nothing_is_lost(steps: list[int | None]) -> None:
    turns = turns_of()
    pushed: list[tuple[int, int]] = []
    popped: list[tuple[int, int]] = []
    for number, host in enumerate(steps):
        if host is not None:
            pushed.append((host, number))
            turns.push(host, pushed[-1])
        elif len(turns):
            popped.append(turns.pop())
    popped.extend(turns.pop() for _ in range(len(turns)))
    assert sorted(popped) == sorted(pushed)
    for host in range(5):
        assert [one for one in popped if one[0] == host] == [one for one in pushed if one[0] == host]
