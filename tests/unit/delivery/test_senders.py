"""The senders: how much is claimed for them, and what becomes of it when they stop or hang."""

import math
import time
from uuid import UUID, uuid4

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.delivery.senders import (
    AT_ONCE,
    AT_ONCE_THEN,
    CLAIM_THEN,
    MAKING_WAY,
    STALE,
    TURN,
    Pace,
    Senders,
)
from daemon.model import Outcome
from daemon.store.precedence import Precedence
from daemon.store.queue import Claimed, Shares
from daemon.store.results import Result

TOKEN = uuid4()


def claimed(host: int = 1, org: UUID | None = None) -> Claimed:
    return Claimed(TOKEN, uuid4(), uuid4(), host, uuid4(), "match.proposed", 1, 0, 1, "{}", org or uuid4())


class Receiver:
    """Stands for the sender: each request takes until `answer` is set."""

    def __init__(self) -> None:
        self.answer = trio.Event()
        self.asked: list[Claimed] = []

    async def send(self, one: Claimed) -> Result:
        self.asked.append(one)
        await self.answer.wait()
        return one.result(Outcome.SUCCEEDED)


class Stage:
    """Senders, and what comes out of them."""

    def __init__(self, nursery: trio.Nursery, *, count: int = 4, share: float = 0.5) -> None:
        self.receiver = Receiver()
        self.give, self.take = trio.open_memory_channel[Result](4 * AT_ONCE)
        self.precedence = Precedence()
        self.senders = Senders(
            self.receiver,  # type: ignore[arg-type]
            self.give,
            count=count,
            share=share,
            poll_sockets=self.look,
            precedence=self.precedence,
            now=time.time,
        )
        nursery.start_soon(self.senders.serve)
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    def start(self, count: int, probe: bool = False, org: UUID | None = None) -> list[Claimed]:
        made = [claimed(org=org) for _ in range(count)]
        self.senders.start((one, probe) for one in made)
        return made

    def results(self) -> list[str]:
        found = []
        while self.take.statistics().current_buffer_used:
            found.append(self.take.receive_nowait().outcome)
        return sorted(found)


async def test_at_rest_there_is_room_for_as_many_as_there_are_senders() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        assert (stage.senders.room(), stage.senders.probe_room, stage.senders.busy) == (4, 2, 0)
        stage.start(3, probe=True)
        assert (stage.senders.room(), stage.senders.probe_room) == (1, 0)  # before a sender has run
        await wait_all_tasks_blocked()
        assert (stage.senders.room(), stage.senders.probe_room, stage.senders.busy) == (1, 0, 3)
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        assert (stage.senders.room(), stage.senders.probe_room, stage.senders.busy) == (4, 2, 0)
        nursery.cancel_scope.cancel()


async def test_one_organisation_leaves_senders_to_whoever_comes() -> None:
    slow, other = uuid4(), uuid4()
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=16, share=0.5)
        assert stage.senders.shares() == Shares((), 12)
        assert stage.senders.probe_shares() == Shares((), 6)
        stage.start(11, org=slow)
        assert stage.senders.shares() == Shares((), 4)
        stage.start(1, org=slow)
        assert stage.senders.shares() == Shares((slow,), 3)
        stage.start(3, org=other)
        assert stage.senders.shares() == Shares((slow, other), 1)
        assert stage.senders.probe_shares() == Shares((), 6)
        stage.start(1)
        assert stage.senders.shares() == Shares(), "nothing is to be claimed"
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        stage.results()
        assert stage.senders.shares().full == ()
        nursery.cancel_scope.cancel()


async def test_one_organisation_leaves_room_to_others_that_have_to_prove_themselves() -> None:
    dead = uuid4()
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=16, share=0.5)
        stage.start(6, probe=True, org=dead)
        assert stage.senders.probe_shares() == Shares((dead,), 2)
        assert stage.senders.shares().full == ()
        nursery.cancel_scope.cancel()


async def test_room_ahead_comes_with_the_pace_and_goes_when_the_receivers_hang(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.senders.room()
        stage.receiver.answer.set()
        for _ in range(5):
            stage.start(4)
            await wait_all_tasks_blocked()
        mock_clock.jump(Pace.PERIOD)
        assert stage.senders.room() == 12  # twenty ended: twice as many ahead as there are senders, not more
        stage.receiver.answer = trio.Event()
        stage.start(12)
        await wait_all_tasks_blocked()
        assert stage.senders.room() == 0
        mock_clock.jump(Pace.PERIOD)
        stage.senders.room()
        mock_clock.jump(Pace.PERIOD)
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        mock_clock.jump(Pace.PERIOD)
        assert stage.senders.room() == 10  # twelve ended in two periods
        mock_clock.jump(Pace.PERIOD)
        assert stage.senders.room() == 4
        nursery.cancel_scope.cancel()


async def test_so_many_requests_are_begun_in_a_turn(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=3 * AT_ONCE)
        await wait_all_tasks_blocked()
        stage.start(AT_ONCE + 1)
        await wait_all_tasks_blocked()
        assert stage.senders.busy == AT_ONCE
        for _ in range(2):  # those that end a request come first, what they leave is for the idle ones
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert stage.senders.busy == AT_ONCE + 1
        nursery.cancel_scope.cancel()


async def test_while_an_event_has_precedence_no_backlog_is_begun(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await wait_all_tasks_blocked()
        stage.start(1)
        await wait_all_tasks_blocked()
        stage.precedence.given = True
        backlog = stage.start(5)
        stage.receiver.answer.set()  # who ends a request does not go on either
        mock_clock.jump(TURN)
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == 1
        fresh = claimed(host=2)
        stage.senders.start([(fresh, False)], fresh=True)
        await wait_all_tasks_blocked()
        assert fresh in stage.receiver.asked
        assert len(stage.receiver.asked) <= 3  # every other turn is for what was just published
        stage.precedence.given = False
        for _ in range(2):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert [one for one in stage.receiver.asked[1:] if one != fresh] == backlog
        nursery.cancel_scope.cancel()


async def test_a_sender_goes_on_while_the_turn_has_room(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=1)
        stage.receiver.answer.set()
        stage.start(AT_ONCE + 9)
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == AT_ONCE
        for _ in range(3):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == AT_ONCE + 9
        nursery.cancel_scope.cancel()


async def test_the_room_of_a_claim_under_way_is_kept_from_others(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=4, share=0.5)
        await wait_all_tasks_blocked()
        with stage.senders.promised(3, 1):
            assert stage.senders.room() == 1
            assert stage.senders.probe_room == 1
            with stage.senders.promised(1, 1):
                assert stage.senders.room() == 0
                assert stage.senders.probe_room == 0
        assert stage.senders.room() == 4
        assert await stage.senders.freed.wait(0), "whoever waits for room hears of it"
        nursery.cancel_scope.cancel()


async def test_while_all_senders_are_busy_nothing_happens_until_one_is_free(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=2)
        stage.start(4)
        for _ in range(3):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == 4
        nursery.cancel_scope.cancel()


async def test_a_sender_that_found_the_turn_full_goes_on_in_the_next(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=AT_ONCE)
        await wait_all_tasks_blocked()
        stage.start(2 * AT_ONCE)
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == AT_ONCE
        for _ in range(2):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == 2 * AT_ONCE
        nursery.cancel_scope.cancel()


async def test_turns_are_short_for_a_while_after_events_were_routed(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=4 * AT_ONCE)
        await wait_all_tasks_blocked()
        stage.senders.make_way()
        assert stage.senders.room() == CLAIM_THEN
        stage.start(AT_ONCE)
        await wait_all_tasks_blocked()
        assert stage.senders.busy == AT_ONCE_THEN
        mock_clock.jump(MAKING_WAY)
        await wait_all_tasks_blocked()
        assert stage.senders.room() == 3 * AT_ONCE
        nursery.cancel_scope.cancel()


async def test_while_others_wait_only_many_are_worth_a_claim(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(3)
        await wait_all_tasks_blocked()
        assert stage.senders.hungry()  # nothing waits: whatever comes next can start at once
        stage.start(2)
        await wait_all_tasks_blocked()
        assert not stage.senders.hungry()
        stage.senders.room()
        stage.receiver.answer.set()
        for _ in range(3):
            stage.start(4)
            await wait_all_tasks_blocked()
        stage.receiver.answer = trio.Event()
        mock_clock.jump(Pace.PERIOD)
        stage.start(6)
        await wait_all_tasks_blocked()
        assert (stage.senders.room(), stage.senders.hungry()) == (6, True)
        stage.start(3)
        assert (stage.senders.room(), stage.senders.hungry()) == (3, False)
        nursery.cancel_scope.cancel()


async def test_what_has_waited_too_long_goes_back_unsent(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(6)
        await wait_all_tasks_blocked()
        mock_clock.jump(STALE * 1.1)
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        assert stage.results() == ["succeeded"] * 4 + ["unsent"] * 2
        nursery.cancel_scope.cancel()


async def test_closing_gives_back_what_waits_and_ends_after_what_is_under_way() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(7)
        await wait_all_tasks_blocked()
        await stage.senders.close()
        assert stage.results() == ["unsent"] * 3
        assert stage.senders.busy == 4
        stage.receiver.answer.set()
    assert stage.results() == ["succeeded"] * 4


async def test_cancelled_senders_say_that_they_were_interrupted() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(2)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert stage.results() == ["interrupted"] * 2
    assert stage.senders.busy == 0


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


async def test_what_came_from_postgres_is_looked_for_before_each_request() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(3)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(stage.receiver.asked), stage.looks) == (3, 3)
        stage.receiver.answer.set()
        await stage.senders.close()
