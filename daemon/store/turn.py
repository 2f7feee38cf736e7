"""One statement for many at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeAlias

from daemon.store.precedence import Precedence

TakeTurn: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]

LONGEST_WAIT = 0.2
"""Seconds after which whoever waits goes on all the same."""


class Turn:
    """What Postgres does for many takes turns in a daemon: rounds for a burst, claims, results.

    Two of them at once take as long as one after the other, and whoever publishes meanwhile finds no
    processor free. As it is for speed alone, nobody waits for long: not for a statement that hangs at a lock.
    Whoever has the turn lets an event go first that has `precedence`.
    """

    def __init__(self, precedence: Precedence) -> None:
        self._lock = asyncio.Lock()
        self._precedence = precedence

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn, and have it for the block, in asyncio."""
        held = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT):
                held = await self._lock.acquire()
        try:
            await self._precedence.over()
            yield
        finally:
            if held:
                self._lock.release()
