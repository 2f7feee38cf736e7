"""asyncio's callbacks, inside Trio, all that are ready at once.

trio-asyncio does one callback at each turn of Trio's loop, and a statement needs four, one after another.
While hundreds of requests are under way a turn takes milliseconds, and what waits for Postgres waits for all
of them; so senders look at asyncio's sockets, too, between two requests. A timer takes two turns more, though
hardly any ever rings.
"""

import asyncio
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from typing import Any, TypeVar

from trio_asyncio import TrioEventLoop

T = TypeVar("T")

MAX_AT_ONCE = 256
"""Callbacks done at once, after which Trio has its turn: some may call each other for ever."""


def callback_queue_of(loop: TrioEventLoop) -> "CallbackQueue":
    """Return the callbacks that are ready in a loop, which come here from now on."""
    ready = getattr(loop.call_soon, "__self__", None)
    return ready if isinstance(ready, CallbackQueue) else CallbackQueue(loop)


class CallbackQueue:
    """The callbacks of `loop.call_soon`, which come here instead of into trio-asyncio's own queue."""

    def __init__(self, loop: TrioEventLoop) -> None:
        self._loop = loop
        self._queue = deque[asyncio.Handle]()
        self._running = False
        # Not in the context of whoever comes first, which may hold a whole request.
        self._next_turn = partial(loop.call_soon, self.run, context=Context())
        self._all_turns = loop.synchronize
        self._all_readers, self._no_reader = loop._add_reader, loop._remove_reader
        self._readers: dict[int, asyncio.Handle] = {}
        self._come = select.epoll()
        loop.call_soon = self._call_soon
        # What reads a socket for asyncio waits for this after each of its callbacks.
        loop.synchronize = self._synchronize
        loop._add_reader, loop._remove_reader = self._add_reader, self._remove_reader
        _Timers(loop, self)

    def run(self) -> None:
        """Do what is ready, and what becomes ready by it. Without this it is done at the next turn."""
        self.do(_nothing)

    def do(self, first: Callable[[], T]) -> T:
        """Do `first` and then as `run`; return what `first` gives."""
        if self._running:
            return first()
        self._running = True
        try:
            result = first()
            for _ in range(MAX_AT_ONCE):
                if not self._queue:
                    break
                handle = self._queue.popleft()
                if not handle.cancelled():
                    handle._run()
            return result
        finally:
            self._running = False
            if self._queue:
                self._next_turn()

    def poll_sockets(self) -> None:
        """Handle at once what has come on asyncio's sockets, in the midst of a long turn of Trio's loop."""
        if not self._running:
            for fd, _ in self._come.poll(0):
                if reader := self._readers.get(fd):  # the one before may have closed it
                    reader._run()

    def _call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop, context)
        self._queue.append(handle)
        if len(self._queue) == 1 and not self._running:
            self._next_turn()
        return handle

    def _add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> object:
        read = partial(callback, *args)
        if fd not in self._readers:
            self._come.register(fd, select.EPOLLIN)
        self._readers[fd] = asyncio.Handle(self.do, (read,), self._loop)
        return self._all_readers(fd, self.do, read)

    def _remove_reader(self, fd: int) -> object:
        if self._readers.pop(fd, None) is not None:
            with suppress(OSError):  # it was closed before
                self._come.unregister(fd)
        return self._no_reader(fd)

    async def _synchronize(self) -> None:
        self.run()
        if self._queue:
            await self._all_turns()


class _Timers:
    """The timers of `loop.call_at` and `call_later`: of all that wait, trio-asyncio knows the first alone.

    Each statement sets one for its deadline and cancels it when the answer comes.
    """

    def __init__(self, loop: TrioEventLoop, ready: CallbackQueue) -> None:
        self._loop = loop
        self._ready = ready
        self._waiting: list[asyncio.TimerHandle] = []
        self._first_timer: asyncio.TimerHandle | None = None
        self._set_timer = partial(loop.call_at, context=Context())
        loop.call_at = self._call_at
        loop.call_later = self._call_later

    def _call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._call_at(self._loop.time() + delay, callback, *args, context=context)

    def _call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._forget_cancelled()
        timer = asyncio.TimerHandle(when, callback, args, self._loop, context)
        heappush(self._waiting, timer)
        self._arm()
        return timer

    def _forget_cancelled(self) -> None:
        while self._waiting and self._waiting[0].cancelled():
            heappop(self._waiting)

    def _arm(self) -> None:
        first = self._waiting[0].when()
        if self._first_timer is None or first < self._first_timer.when():
            if self._first_timer is not None:
                self._first_timer.cancel()
            self._first_timer = self._set_timer(first, self._ready.do, self._run_due)

    def _run_due(self) -> None:
        self._first_timer = None
        now = self._loop.time()
        while self._waiting and self._waiting[0].when() <= now:
            timer = heappop(self._waiting)
            if not timer.cancelled():
                timer._run()
        self._forget_cancelled()
        if self._waiting:
            self._arm()


def _nothing() -> None:
    pass
