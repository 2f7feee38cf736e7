"""Pieces of bulk work go one after another while single events come, and on all the same where one hangs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio_asyncio

from daemon.delivery import bulk_lock as module
from daemon.delivery import governor as rules
from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.governor import Governor


class Hall:
    """Pieces of work, and when they began and ended; `come`: single events come."""

    def __init__(self, *, come: bool = True) -> None:
        self.governor = Governor(trio.current_time)
        self.lock = BulkLock(self.governor)
        self.done: list[str] = []
        if come:
            self.governor.note_single()

    async def work(self, name: str, end: asyncio.Event) -> None:
        async with self.lock.piece():
            self.done.append(f"{name} begins")
            await end.wait()
        self.done.append(f"{name} ends")


@pytest.fixture(autouse=True)
def single_events_never_cease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SINGLE_EVENTS_WINDOW", 60.0)


async def in_asyncio(scene: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(10):
        await trio_asyncio.aio_as_trio(scene)()


async def test_each_waits_for_the_one_before(asyncio_loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT", 60.0)

    async def scene() -> None:
        hall, first, second = Hall(), asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(hall.work("a", first))
            group.create_task(hall.work("b", second))
            second.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert hall.done == ["a begins"]
            first.set()
        assert hall.done == ["a begins", "a ends", "b begins", "b ends"]

    await in_asyncio(scene)


async def test_alone_they_go_at_once(asyncio_loop: None) -> None:
    async def scene() -> None:
        hall, end = Hall(come=False), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(hall.work("a", end))
            group.create_task(hall.work("b", end))
            await asyncio.sleep(0)
            assert hall.done == ["a begins", "b begins"]
            end.set()

    await in_asyncio(scene)


async def test_an_event_that_was_announced_goes_first(
    asyncio_loop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_HEAD_START", 60.0)

    async def scene() -> None:
        hall, end = Hall(), asyncio.Event()
        hall.governor.announce()
        work = asyncio.create_task(hall.work("a", end))
        await asyncio.sleep(0)
        assert hall.done == []
        hall.governor.end_announcement()
        end.set()
        await work
        assert hall.done == ["a begins", "a ends"]

    await in_asyncio(scene)


async def test_nobody_waits_for_ever(asyncio_loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT", 0.01)

    async def scene() -> None:
        hall, at_last, at_once = Hall(), asyncio.Event(), asyncio.Event()
        at_once.set()
        hung = asyncio.create_task(hall.work("a", at_last))
        await asyncio.sleep(0)
        await hall.work("b", at_once)
        assert hall.done == ["a begins", "b begins", "b ends"]
        at_last.set()
        await hung
        await hall.work("c", at_once)
        assert hall.done[-2:] == ["c begins", "c ends"]

    await in_asyncio(scene)


async def test_who_is_cancelled_leaves_the_lock_to_the_next(asyncio_loop: None) -> None:
    async def scene() -> None:
        hall, never, at_once = Hall(), asyncio.Event(), asyncio.Event()
        at_once.set()
        first = asyncio.create_task(hall.work("a", never))
        waiting = asyncio.create_task(hall.work("b", never))
        await asyncio.sleep(0)
        for task in (waiting, first):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await hall.work("c", at_once)
        assert hall.done == ["a begins", "c begins", "c ends"]

    await in_asyncio(scene)
