"""How much may be claimed, and who may have how much of it."""

from uuid import uuid4

from daemon.delivery.capacity import Capacity, Pace
from daemon.delivery.governor import SMALL_CLAIM, Governor
from daemon.store.queue import Shares

A, B, C = uuid4(), uuid4(), uuid4()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def capacity(senders: int, probes: int) -> tuple[Capacity, Clock, Governor]:
    clock = Clock()
    governor = Governor(clock)
    return Capacity(senders, probes, governor, clock), clock, governor


def test_at_rest_as_many_may_be_claimed_as_there_are_senders() -> None:
    had, _, _ = capacity(4, 2)
    assert (had.free_slots, had.free_probes) == (4, 2)
    for _ in range(3):
        had.take(A, True)
    assert (had.free_slots, had.free_probes) == (1, 0)
    for _ in range(3):
        had.release(A, True)
    assert (had.free_slots, had.free_probes) == (4, 2)


def test_one_organisation_leaves_senders_to_whoever_comes() -> None:
    had, _, _ = capacity(16, 8)
    assert had.shares() == Shares((), 12)
    assert had.probe_shares() == Shares((), 6)
    for _ in range(11):
        had.take(A, False)
    assert had.shares() == Shares((), 4)
    had.take(A, False)
    assert had.shares() == Shares((A,), 3)
    for _ in range(3):
        had.take(B, False)
    assert had.shares() == Shares((A, B), 1)
    assert had.probe_shares() == Shares((), 6)
    had.take(C, False)
    assert had.shares() == Shares(), "nothing is to be claimed"
    for _ in range(12):
        had.release(A, False)
    assert had.shares().full == ()


def test_one_organisation_leaves_room_to_others_that_have_to_prove_themselves() -> None:
    had, _, _ = capacity(16, 8)
    for _ in range(6):
        had.take(A, True)
    assert had.probe_shares() == Shares((A,), 2)
    assert had.shares().full == ()


def test_room_ahead_comes_with_the_pace_and_goes_when_the_receivers_hang() -> None:
    had, clock, _ = capacity(4, 2)
    assert had.free_slots == 4
    had.pace.ended = 20
    clock.now += Pace.PERIOD
    assert had.free_slots == 12, "twice as many ahead as there are senders, not more"
    clock.now += Pace.PERIOD
    assert had.free_slots == 4


def test_claims_are_small_while_single_events_come_and_follow_the_pace() -> None:
    had, clock, governor = capacity(400, 100)
    governor.note_single()
    assert had.free_slots == SMALL_CLAIM
    had.free_slots  # noqa: B018  (it begins to measure)
    had.pace.ended = 300
    clock.now += Pace.PERIOD
    assert had.free_slots == 150


def test_what_is_kept_for_a_claim_under_way_others_do_not_get() -> None:
    had, _, _ = capacity(4, 2)
    with had.reserve(3, 1):
        assert had.claiming
        assert (had.free_slots, had.free_probes) == (1, 1)
        with had.reserve(1, 1):
            assert (had.free_slots, had.free_probes) == (0, 0)
    assert (had.free_slots, had.claiming) == (4, False)


def test_the_pace_is_of_the_last_whole_period() -> None:
    pace = Pace()
    assert pace.measure(100.0) == 0
    pace.ended = 50
    assert pace.measure(100.0 + Pace.PERIOD / 2) == 0
    assert pace.measure(100.0 + Pace.PERIOD) == 50
    assert pace.measure(100.0 + Pace.PERIOD * 1.5) == 50
    assert pace.measure(100.0 + Pace.PERIOD * 2) == 0
    pace.ended = 100
    assert pace.measure(100.0 + Pace.PERIOD * 4) == 50
