"""What takes turns goes one after another, and on all the same where one hangs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio_asyncio

from daemon.store import turn as module
from daemon.store.precedence import Precedence
from daemon.store.turn import Turn


class Hall:
    """Tasks that take turns, and what they did."""

    def __init__(self) -> None:
        self.precedence = Precedence()
        self.turn = Turn(self.precedence)
        self.done: list[str] = []

    async def visit(self, name: str, leave: asyncio.Event) -> None:
        async with self.turn.take():
            self.done.append(f"{name} comes")
            await leave.wait()
        self.done.append(f"{name} goes")


async def in_asyncio(scene: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(10):
        await trio_asyncio.aio_as_trio(scene)()


async def test_each_waits_for_the_one_before(asyncio_loop: None) -> None:
    async def scene() -> None:
        hall, first, second = Hall(), asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(hall.visit("a", first))
            group.create_task(hall.visit("b", second))
            await asyncio.sleep(0)
            second.set()
            await asyncio.sleep(0)
            assert hall.done == ["a comes"]
            first.set()
        assert hall.done == ["a comes", "a goes", "b comes", "b goes"]

    await in_asyncio(scene)


async def test_whoever_has_the_turn_lets_go_first_what_was_just_announced(asyncio_loop: None) -> None:
    async def scene() -> None:
        hall, leave = Hall(), asyncio.Event()
        hall.precedence.give()
        visit = asyncio.create_task(hall.visit("a", leave))
        await asyncio.sleep(0)
        assert hall.done == []
        hall.precedence.end()
        await asyncio.sleep(0)
        assert hall.done == ["a comes"]
        leave.set()
        await visit

    await in_asyncio(scene)


async def test_nobody_waits_for_ever(asyncio_loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.01)

    async def scene() -> None:
        hall, at_last, at_once = Hall(), asyncio.Event(), asyncio.Event()
        at_once.set()
        hung = asyncio.create_task(hall.visit("a", at_last))
        await asyncio.sleep(0)
        await hall.visit("b", at_once)
        assert hall.done == ["a comes", "b comes", "b goes"]
        at_last.set()
        await hung
        await hall.visit("c", at_once)
        assert hall.done[-2:] == ["c comes", "c goes"]

    await in_asyncio(scene)


async def test_who_is_cancelled_leaves_the_turn_to_the_next(asyncio_loop: None) -> None:
    async def scene() -> None:
        hall, never, at_once = Hall(), asyncio.Event(), asyncio.Event()
        at_once.set()
        first = asyncio.create_task(hall.visit("a", never))
        waiting = asyncio.create_task(hall.visit("b", never))
        await asyncio.sleep(0)
        for task in (waiting, first):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await hall.visit("c", at_once)
        assert hall.done == ["a comes", "c comes", "c goes"]

    await in_asyncio(scene)
