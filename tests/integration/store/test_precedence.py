"""What was just announced goes before what is done for many, though not for long, and not always."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio_asyncio

from daemon.store import precedence as module
from daemon.store.precedence import Precedence


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def in_asyncio(scene: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(10):
        await trio_asyncio.aio_as_trio(scene)()


async def test_many_wait_until_it_is_over(asyncio_loop: None) -> None:
    async def scene() -> None:
        precedence = Precedence()
        await precedence.over()
        precedence.give()
        waiting = asyncio.create_task(precedence.over())
        await asyncio.sleep(0)
        assert precedence.given
        assert not waiting.done()
        precedence.end()
        await waiting
        assert not precedence.given

    await in_asyncio(scene)


async def test_it_ends_by_itself_where_nobody_ends_it(
    asyncio_loop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.001)

    async def scene() -> None:
        precedence = Precedence()
        precedence.give()
        await precedence.over()
        assert not precedence.given

    await in_asyncio(scene)


async def test_many_have_half_of_the_time_however_much_is_announced(asyncio_loop: None) -> None:
    async def scene() -> None:
        clock = Clock()
        precedence = Precedence(clock)
        precedence.give()
        clock.now += 4.0
        precedence.give()  # it is given already, and lasts no longer for that
        precedence.end()
        clock.now += 3.9
        precedence.give()
        seen = [precedence.given]
        clock.now += 0.1
        precedence.give()
        seen.append(precedence.given)
        precedence.end()
        assert seen == [False, True]

    await in_asyncio(scene)


async def test_an_end_too_many_takes_no_time_from_anybody(asyncio_loop: None) -> None:
    async def scene() -> None:
        clock = Clock()
        precedence = Precedence(clock)
        precedence.end()
        clock.now += 50.0
        precedence.end()
        precedence.give()
        assert precedence.given
        precedence.end()

    await in_asyncio(scene)
