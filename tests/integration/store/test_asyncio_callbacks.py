"""asyncio's callbacks inside Trio: their order, their number in one turn, and what a unit of work costs."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar

import pytest
import trio
import trio.testing
import trio_asyncio

from daemon.store.asyncio_callbacks import MAX_AT_ONCE, CallbackQueue, callback_queue_of
from daemon.store.database import Connection, Database

Here = tuple[trio_asyncio.TrioEventLoop, CallbackQueue]


class Turns(trio.abc.Instrument):
    """Counts the turns of Trio's loop."""

    count = 0
    steps = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1


@pytest.fixture
async def here(asyncio_loop: None) -> Here:
    """Return the test's loop, and what is ready in it."""
    loop = trio_asyncio.current_loop.get()
    assert loop is not None
    assert callback_queue_of(loop) is callback_queue_of(loop)
    return loop, callback_queue_of(loop)


async def test_what_is_ready_is_done_in_order_and_at_once(here: Here) -> None:
    loop, ready = here
    done: list[int] = []

    def first() -> None:
        done.append(1)
        loop.call_soon(done.append, 3)

    loop.call_soon(first)
    loop.call_soon(done.append, 2)
    loop.call_soon(done.append, 4).cancel()
    assert done == []
    ready.run()
    assert done == [1, 2, 3]


async def test_it_is_done_at_the_next_turn_though_nobody_runs_it(here: Here) -> None:
    loop, _ = here
    done = trio.Event()
    loop.call_soon(done.set)
    with trio.fail_after(30):
        await done.wait()


async def test_callbacks_that_call_each_other_for_ever_leave_trio_its_turn(here: Here) -> None:
    loop, ready = here
    stopped, count = False, 0

    def again() -> None:
        nonlocal count
        count += 1
        if not stopped:
            loop.call_soon(again)

    loop.call_soon(again)
    ready.run()
    assert count == MAX_AT_ONCE
    with trio.fail_after(30):
        while count < 3 * MAX_AT_ONCE:
            await trio.lowlevel.checkpoint()
    stopped = True


async def test_a_callback_that_runs_what_is_ready_does_not_go_round(here: Here) -> None:
    loop, ready = here
    done: list[str] = []

    def outer() -> None:
        loop.call_soon(done.append, "inner")
        ready.run()
        done.append("outer")

    loop.call_soon(outer)
    ready.run()
    assert done == ["outer", "inner"]


async def test_a_callback_that_fails_is_reported_and_stops_no_other(here: Here) -> None:
    loop, ready = here
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    done: list[int] = []
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(done.append, 1)
    ready.run()
    loop.set_exception_handler(None)
    assert done == [1]
    assert [type(one) for one in reported] == [ZeroDivisionError]


async def test_callbacks_keep_the_context_in_which_they_were_given(here: Here) -> None:
    loop, ready = here
    name: ContextVar[str] = ContextVar("name")
    found: list[str] = []
    look: Callable[[], None] = lambda: found.append(name.get())  # noqa: E731
    name.set("first")
    loop.call_soon(look)
    name.set("second")
    loop.call_soon(look)
    ready.run()
    assert found == ["first", "second"]


async def test_tasks_of_asyncio_and_waiting_in_them_work_as_ever(here: Here) -> None:
    async def work() -> int:
        async with asyncio.timeout(5):
            parts = await asyncio.gather(*(asyncio.sleep(0.001 * n, n) for n in range(3)))
        return sum(parts)

    with trio.fail_after(30):
        assert await trio_asyncio.aio_as_trio(work)() == 3


async def test_what_comes_on_a_socket_is_handled_by_a_look_in_the_midst_of_a_turn(here: Here) -> None:
    loop, ready = here
    come: list[bytes] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        loop.add_reader(ours.fileno(), lambda: come.append(ours.recv(10)))
        ready.poll_sockets()
        assert come == []
        theirs.send(b"one")
        ready.poll_sockets()
        assert come == [b"one"]
        await trio.testing.wait_all_tasks_blocked()
        theirs.send(b"two")
        with trio.fail_after(30):
            while len(come) < 2:
                await trio.lowlevel.checkpoint()
        loop.remove_reader(ours.fileno())
        theirs.send(b"three")
        ready.poll_sockets()
    assert come == [b"one", b"two"]


async def test_a_reader_that_fails_during_a_look_is_reported_and_the_others_are_read(here: Here) -> None:
    loop, ready = here
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    come: list[bytes] = []
    pairs = [socket.socketpair() for _ in range(2)]
    loop.add_reader(pairs[0][0].fileno(), lambda: pairs[0][0].recv(1) and 1 / 0)
    loop.add_reader(pairs[1][0].fileno(), lambda: come.append(pairs[1][0].recv(10)))
    for _, theirs in pairs:
        theirs.send(b"x")
    ready.poll_sockets()
    for ours, theirs in pairs:
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
    loop.set_exception_handler(None)
    assert [type(one) for one in reported] == [ZeroDivisionError]
    assert come == [b"x"]


async def test_a_socket_that_was_closed_before_it_was_let_go_does_no_harm(here: Here) -> None:
    loop, ready = here
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    loop.add_reader(number, lambda: None)
    ours.close()
    loop.remove_reader(number)
    theirs.close()
    ready.poll_sockets()


async def test_an_answer_of_postgres_is_there_after_a_look(database: Database) -> None:
    """Without a turn of Trio's loop: as a sender sees to it in the midst of a long one."""
    answered: list[int] = []

    async def unit(connection: Connection) -> None:
        await connection.fetchval("select 1")
        for number in range(3):
            answered.append(await connection.fetchval("select $1::integer", number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, unit)
        with trio.fail_after(30):
            while not answered:
                await trio.lowlevel.checkpoint()
        deadline = time.monotonic() + 5
        while len(answered) < 3 and time.monotonic() < deadline:
            database.poll_sockets()
        assert answered == [0, 1, 2]


async def test_timers_ring_in_the_order_of_their_times_and_never_once_cancelled(here: Here) -> None:
    loop, _ = here
    ran: list[int] = []
    end = trio.Event()
    now = loop.time()
    loop.call_at(now + 0.06, end.set)
    loop.call_at(now + 0.04, ran.append, 3)
    loop.call_later(0.02, ran.append, 1)
    loop.call_at(now + 0.03, ran.append, 2)
    loop.call_at(now + 0.01, ran.append, 0).cancel()
    assert ran == []
    with trio.fail_after(30):
        await end.wait()
    assert ran == [1, 2, 3]


async def test_a_timer_set_by_a_timer_and_one_behind_a_cancelled_one_ring(here: Here) -> None:
    loop, _ = here
    end = trio.Event()
    first = loop.call_later(0.01, end.set)
    loop.call_later(0.03, lambda: loop.call_later(0.01, end.set))
    first.cancel()
    with trio.fail_after(30):
        await end.wait()


async def test_a_timer_that_fails_is_reported_and_stops_no_other(here: Here) -> None:
    loop, _ = here
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context.get("exception")))
    end = trio.Event()
    loop.call_later(0.01, lambda: 1 / 0)
    loop.call_later(0.01, end.set)
    with trio.fail_after(30):
        await end.wait()
    loop.set_exception_handler(None)
    assert [type(one) for one in reported] == [ZeroDivisionError]


async def test_timers_that_are_cancelled_cost_no_turn_and_trio_asyncio_does_not_keep_them(here: Here) -> None:
    loop, _ = here
    trio_asyncios_own = loop._timers
    loop.call_later(1000, print)
    await trio.testing.wait_all_tasks_blocked()
    known, turns = len(trio_asyncios_own), Turns()
    trio.lowlevel.add_instrument(turns)
    timers = [loop.call_later(2000, print) for _ in range(1000)]
    for timer in timers:
        timer.cancel()
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(turns)
    assert turns.steps <= 2
    assert len(trio_asyncios_own) == known


async def test_a_statement_takes_few_turns(database: Database) -> None:
    turns, times = Turns(), 50

    async def unit(connection: Connection) -> None:
        await connection.fetchval("select 1")

    await database.run(unit)
    trio.lowlevel.add_instrument(turns)
    for _ in range(times):
        await database.run(unit)
    trio.lowlevel.remove_instrument(turns)
    # trio-asyncio alone takes 12; here one begins when the answer has come, one when the result is known.
    assert turns.count <= 3 * times
    assert turns.steps <= 3 * times
