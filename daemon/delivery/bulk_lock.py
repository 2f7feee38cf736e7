"""One piece of bulk work at a time in a daemon, when the governor lets it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from daemon.delivery.governor import Governor

MAX_WAIT = 0.2
"""Seconds after which whoever waits for another's piece goes on all the same: that may hang at a lock."""
STEP = 0.002
"""Seconds after which a piece that waits asks the governor again: an announcement may have ended."""


class BulkLock:
    """For statements of bulk work: two at once take as long as one after the other, and leave no processor
    free for a single event meanwhile. While no single events come they go at once.
    """

    def __init__(self, governor: Governor) -> None:
        self._lock = asyncio.Lock()
        self._governor = governor

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        """Wait until a piece may begin, and do it in the block; in asyncio."""
        if not self._governor.single_events_come:
            yield
            return
        held = False
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_WAIT):
                held = await self._lock.acquire()
        try:
            wait = self._governor.head_start()
            while wait > 0:
                await asyncio.sleep(min(wait, STEP))
                wait = self._governor.head_start()
            yield
        finally:
            if held:
                self._lock.release()
