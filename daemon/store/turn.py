"""One statement for many at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TypeAlias

TakeTurn: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]

LONGEST_WAIT = 0.2
"""Seconds after which whoever waits goes on all the same."""


class Turn:
    """What Postgres does for many takes turns in a daemon: rounds for a burst, claims, results.

    Two of them at once take as long as one after the other, and whoever publishes meanwhile finds no
    processor free. As it is for speed alone, nobody waits for long: not for a statement that hangs at a lock.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn, and have it for the block, in asyncio."""
        held = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT):
                held = await self._lock.acquire()
        try:
            yield
        finally:
            if held:
                self._lock.release()
