"""The senders: how many requests they begin, and what becomes of what was claimed when they stop or hang."""

import math
import time
from uuid import UUID, uuid4

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.delivery.capacity import Capacity, Pace
from daemon.delivery.governor import FEW_REQUESTS, MAX_REQUESTS, Governor
from daemon.delivery.senders import MAX_AGE, TURN, Senders
from daemon.model import Outcome
from daemon.store.queue import Claimed
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

    def __init__(self, nursery: trio.Nursery, *, count: int = 4) -> None:
        self.receiver = Receiver()
        self.give, self.take = trio.open_memory_channel[Result](4 * MAX_REQUESTS)
        self.governor = Governor(trio.current_time)
        self.capacity = Capacity(count, max(1, count // 2), self.governor, trio.current_time)
        self.senders = Senders(
            self.receiver,  # type: ignore[arg-type]
            self.give,
            self.capacity,
            self.governor,
            poll_sockets=self.look,
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


async def test_so_many_requests_are_begun_in_a_turn(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=3 * MAX_REQUESTS)
        await wait_all_tasks_blocked()
        stage.start(MAX_REQUESTS + 1)
        await wait_all_tasks_blocked()
        assert stage.senders.busy == MAX_REQUESTS
        for _ in range(2):  # those that end a request come first, what they leave is for the idle ones
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert stage.senders.busy == MAX_REQUESTS + 1
        nursery.cancel_scope.cancel()


async def test_while_an_event_has_precedence_no_backlog_is_begun(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        await wait_all_tasks_blocked()
        stage.start(1)
        await wait_all_tasks_blocked()
        stage.governor.announce()
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
        stage.governor.end_announcement()
        for _ in range(2):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert [one for one in stage.receiver.asked[1:] if one != fresh] == backlog
        nursery.cancel_scope.cancel()


async def test_a_sender_goes_on_while_the_turn_has_room(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=1)
        stage.receiver.answer.set()
        stage.start(MAX_REQUESTS + 9)
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == MAX_REQUESTS
        for _ in range(3):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == MAX_REQUESTS + 9
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
        stage = Stage(nursery, count=MAX_REQUESTS)
        await wait_all_tasks_blocked()
        stage.start(2 * MAX_REQUESTS)
        stage.receiver.answer.set()
        await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == MAX_REQUESTS
        for _ in range(2):
            mock_clock.jump(TURN)
            await wait_all_tasks_blocked()
        assert len(stage.receiver.asked) == 2 * MAX_REQUESTS
        nursery.cancel_scope.cancel()


async def test_turns_are_short_while_single_events_come(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery, count=4 * MAX_REQUESTS)
        await wait_all_tasks_blocked()
        stage.governor.note_single()
        stage.start(MAX_REQUESTS)
        await wait_all_tasks_blocked()
        assert stage.senders.busy == FEW_REQUESTS
        nursery.cancel_scope.cancel()


async def test_while_a_backlog_waits_only_many_are_worth_a_claim(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(3)
        await wait_all_tasks_blocked()
        assert stage.senders.wants_work()  # nothing waits: whatever comes next can start at once
        stage.start(2)
        await wait_all_tasks_blocked()
        assert not stage.senders.wants_work()
        stage.capacity.pace.measure(trio.current_time())
        stage.receiver.answer.set()
        for _ in range(3):
            stage.start(4)
            await wait_all_tasks_blocked()
        stage.receiver.answer = trio.Event()
        mock_clock.jump(Pace.PERIOD)
        stage.start(6)
        await wait_all_tasks_blocked()
        assert (stage.capacity.free, stage.senders.wants_work()) == (6, True)
        stage.start(3)
        assert (stage.capacity.free, stage.senders.wants_work()) == (3, False)
        nursery.cancel_scope.cancel()


async def test_what_was_just_published_keeps_no_backlog_from_being_claimed() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(4)
        await wait_all_tasks_blocked()
        stage.senders.start([(claimed(host=2), False)], fresh=True)
        assert stage.senders.wants_work()
        stage.start(1)
        assert not stage.senders.wants_work()
        nursery.cancel_scope.cancel()


async def test_what_has_waited_too_long_goes_back_unsent(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(6)
        await wait_all_tasks_blocked()
        mock_clock.jump(MAX_AGE * 1.1)
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


async def test_what_came_from_postgres_is_looked_for_before_each_request() -> None:
    async with trio.open_nursery() as nursery:
        stage = Stage(nursery)
        stage.start(3)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(stage.receiver.asked), stage.looks) == (3, 3)
        stage.receiver.answer.set()
        await stage.senders.close()
