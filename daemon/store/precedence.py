"""Precedence: what was just announced goes before what is done for many."""

import asyncio
import time
from collections.abc import Callable

LONGEST = 0.012
"""Seconds after which it ends by itself; a lone event is on its way after 3 to 8 ms."""


class Precedence:
    """While it is given a daemon begins nothing for many: no round for a burst, claim, batch of results, or
    request out of a backlog.

    What is under way goes on, and then the processors are free for the one event. After each time as long a
    one follows without it, so that many have half of all time at least, whatever is announced.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.given = False
        self._clock = clock
        self._since = self._not_before = clock()
        self._over = asyncio.Event()
        self._over.set()
        self._timer: asyncio.TimerHandle | None = None

    def give(self) -> None:
        """Something was announced. To be called in asyncio."""
        now = self._clock()
        if not self.given and now >= self._not_before:
            self._timer = asyncio.get_running_loop().call_later(LONGEST, self.end)
            self.given, self._since = True, now
            self._over.clear()

    def end(self) -> None:
        """It is on its way, or there was nothing."""
        if self.given:
            self.given = False
            now = self._clock()
            self._not_before = now + (now - self._since)
            self._over.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def over(self) -> None:
        """Return when it is given to nobody, in asyncio."""
        await self._over.wait()
