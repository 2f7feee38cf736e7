"""asyncio's callbacks, inside Trio, all that are ready at once.

trio-asyncio does one callback at each turn of Trio's loop, and a statement needs four, one after another.
While hundreds of requests are under way a turn takes milliseconds, and what waits for Postgres waits for all
of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from trio_asyncio import TrioEventLoop

MOST = 256
"""Callbacks done at once, after which Trio has its turn: some may call each other for ever."""


def ready_of(loop: TrioEventLoop) -> "Ready":
    """Return the callbacks that are ready in a loop, which is brisk from now on."""
    ready = getattr(loop.call_soon, "__self__", None)
    return ready if isinstance(ready, Ready) else Ready(loop)


class Ready:
    """The callbacks of `loop.call_soon`, which come here instead of into trio-asyncio's own queue."""

    def __init__(self, loop: TrioEventLoop) -> None:
        self._loop = loop
        self._queue = deque[asyncio.Handle]()
        self._running = False
        # Not in the context of whoever comes first, which may hold a whole request.
        self._next_turn = partial(loop.call_soon, self.run, context=Context())
        self._all_turns = loop.synchronize
        loop.call_soon = self._call_soon
        # What reads a socket for asyncio waits for this after each of its callbacks.
        loop.synchronize = self._synchronize

    def run(self) -> None:
        """Do what is ready, and what becomes ready by it. Without this it is done at the next turn."""
        if self._running:
            return
        self._running = True
        try:
            for _ in range(MOST):
                if not self._queue:
                    return
                handle = self._queue.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            self._running = False
            if self._queue:
                self._next_turn()

    def _call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop, context)
        self._queue.append(handle)
        if len(self._queue) == 1 and not self._running:
            self._next_turn()
        return handle

    async def _synchronize(self) -> None:
        self.run()
        if self._queue:
            await self._all_turns()
