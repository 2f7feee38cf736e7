"""Idle connections, kept for the next request to the same origin."""

from collections import OrderedDict

import trio

from daemon.egress.url import Origin
from daemon.egress.wire import Wire


class Pool:
    """Holds at most `max_idle` idle connections; the one unused for longest makes room.

    A connection is closed after `idle_timeout` seconds without use, and `max_age` seconds after it was
    opened: a busy one never goes idle, and would go to an old address for ever after a receiver moved.
    Every method is synchronous, so no cancellation can come between.
    """

    def __init__(self, *, idle_timeout: float = 30.0, max_idle: int = 256, max_age: float = 300.0) -> None:
        self._idle_timeout = idle_timeout
        self._max_idle = max_idle
        self._max_age = max_age
        self._closed = False
        self._by_origin: dict[Origin, list[Wire]] = {}  # the one used last at the end
        self._by_age: OrderedDict[Wire, Origin] = OrderedDict()  # the one unused for longest first

    def __len__(self) -> int:
        """Return the number of idle connections."""
        return len(self._by_age)

    def take(self, origin: Origin, now: float) -> Wire | None:
        """Return the idle connection to `origin` that was used last, or None; the caller owns it.

        `now` is the time by Trio's clock, here as in `give`: the caller has just read it.
        """
        wires = self._by_origin.get(origin)
        while wires:
            wire = wires.pop()
            del self._by_age[wire]
            if now - wire.idle_since < self._idle_timeout and self._is_young(wire, now) and wire.is_quiet():
                return wire
            wire.close()
        return None

    def give(self, origin: Origin, wire: Wire, now: float) -> None:
        """Keep `wire`, on which the last response ended cleanly, for another request to `origin`."""
        if self._closed or not self._is_young(wire, now):
            wire.close()
            return
        wire.idle_since = now
        wires = self._by_origin.get(origin)
        if wires is None:
            wires = self._by_origin[origin] = []
        wires.append(wire)
        self._by_age[wire] = origin
        if len(self._by_age) > self._max_idle:
            self._close_oldest()

    def sweep(self) -> None:
        """Close the connections that have been idle for too long."""
        oldest_allowed = trio.current_time() - self._idle_timeout
        while self._by_age and next(iter(self._by_age)).idle_since <= oldest_allowed:
            self._close_oldest()
        self._by_origin = {origin: wires for origin, wires in self._by_origin.items() if wires}

    def close(self) -> None:
        """Close every idle connection, and each one given back from now on."""
        self._closed = True
        while self._by_age:
            self._close_oldest()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep for ever, and close the pool when cancelled; without this, idle sockets stay open."""
        try:
            task_status.started()
            while True:
                await trio.sleep(self._idle_timeout / 2)
                self.sweep()
        finally:
            self.close()

    def _is_young(self, wire: Wire, now: float) -> bool:
        return now - wire.opened < self._max_age

    def _close_oldest(self) -> None:
        wire, origin = self._by_age.popitem(last=False)
        self._by_origin[origin].remove(wire)
        wire.close()
