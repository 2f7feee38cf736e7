"""A bell that a unit of work waits for and anybody rings, from Trio or from asyncio."""

import asyncio
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """Rung while nobody waits, it is heard at the next wait; rung many times, it is heard once.

    `run` does what is ready in asyncio: who waits goes on at once, and has sent its statement before `ring`
    returns.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._rung = self._news = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self, *, news: bool = True) -> None:
        """Wake who waits, or who waits next; `news`: something has come."""
        self._rung = True
        self._news = self._news or news
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
            self._run()

    async def wait(self, timeout: float) -> bool:
        """Wait until the bell rings, or for `timeout` seconds; tell whether there are news.

        One waits at a time, in asyncio.
        """
        if not self._rung and timeout > 0:
            self._waiting = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._waiting
            self._waiting = None
        news, self._rung, self._news = self._news, False, False
        return news
