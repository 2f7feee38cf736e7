"""An event that a unit of work waits for and anybody sets, from Trio or from asyncio; the wait resets it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress


class AsyncioAutoResetEvent:
    """Set while nobody waits, it ends the next wait; set many times, it ends one.

    `run` does what is ready in asyncio: who waits goes on at once, and has sent its statement before `set`
    returns.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._set = self._news = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self, *, news: bool = True) -> None:
        """Wake who waits, or who waits next; `news`: something has come."""
        self._set = True
        self._news = self._news or news
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
            self._run()

    async def wait(self, timeout: float) -> bool:
        """Return when it is set, or after `timeout` seconds: whether there are news.

        One waits at a time, in asyncio.
        """
        if not self._set and timeout > 0:
            self._waiting = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._waiting
            self._waiting = None
        news, self._set, self._news = self._news, False, False
        return news
