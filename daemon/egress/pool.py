"""Idle connections, kept for the next request of the same organisation to the same origin."""

from collections import OrderedDict
from uuid import UUID

import trio

from daemon.egress.socket_stream import SocketStream
from daemon.egress.url import Origin

Peer = tuple[Origin, UUID | None]
"""Whom a connection belongs to: the origin at its other end, and the organisation at this one. What an origin
sends unasked on a connection must never be taken for its answer to somebody else."""


class Pool:
    """Holds at most `max_idle` idle connections, half of them of one organisation at most.

    The one unused for longest makes room: of its own, where an organisation has its half. A connection is
    closed after `idle_timeout` seconds without use, and `max_age` seconds after it was opened: a busy one
    never goes idle, and would go to an old address for ever after a receiver moved. Every method is
    synchronous, so no cancellation can come between.
    For `max_age` seconds nothing is kept of a peer that sent what belonged to no answer: each time that such
    a connection served again could mean that a request is sent twice.
    """

    def __init__(self, *, idle_timeout: float = 30.0, max_idle: int = 256, max_age: float = 300.0) -> None:
        self._idle_timeout = idle_timeout
        self._max_idle = max_idle
        self._max_of_owner = (max_idle + 1) // 2
        self._max_age = max_age
        self._closed = False
        self._by_peer: dict[Peer, list[SocketStream]] = {}  # the one used last at the end
        # The one unused for longest first, in both:
        self._by_age: OrderedDict[SocketStream, Peer] = OrderedDict()
        self._by_owner: dict[UUID | None, OrderedDict[SocketStream, None]] = {}
        self._untrusted: OrderedDict[Peer, float] = OrderedDict()  # until when, the soonest first

    def __len__(self) -> int:
        """Return the number of idle connections."""
        return len(self._by_age)

    def take(self, peer: Peer, now: float) -> SocketStream | None:
        """Return the idle connection to `peer` that was used last, or None; the caller owns it.

        `now` is the time by Trio's clock, here as in `give`: the caller has just read it.
        """
        streams = self._by_peer.get(peer)
        while streams:
            stream = streams.pop()
            del self._by_age[stream]
            del self._by_owner[peer[1]][stream]
            if (
                now - stream.idle_since < self._idle_timeout
                and self._is_young(stream, now)
                and stream.is_quiet()
            ):
                return stream
            stream.close()
        return None

    def give(self, peer: Peer, stream: SocketStream, now: float) -> None:
        """Keep `stream`, on which the last response ended cleanly, for another request to `peer`."""
        if (
            self._closed
            or not self._is_young(stream, now)
            or (self._untrusted and self._distrusts(peer, now))
        ):
            stream.close()
            return
        stream.idle_since = now
        streams = self._by_peer.get(peer)
        if streams is None:
            streams = self._by_peer[peer] = []
        streams.append(stream)
        self._by_age[stream] = peer
        of_owner = self._by_owner.get(peer[1])
        if of_owner is None:
            of_owner = self._by_owner[peer[1]] = OrderedDict()
        of_owner[stream] = None
        if len(of_owner) > self._max_of_owner:
            self._close(next(iter(of_owner)))
        elif len(self._by_age) > self._max_idle:
            self._close(next(iter(self._by_age)))

    def distrust(self, peer: Peer, now: float) -> None:
        """Keep no connection to `peer` for a while."""
        self._untrusted[peer] = now + self._max_age
        self._untrusted.move_to_end(peer)
        if len(self._untrusted) > self._max_idle:
            self._untrusted.popitem(last=False)
        for stream in list(self._by_peer.get(peer, ())):
            self._close(stream)

    def sweep(self) -> None:
        """Close the connections that have been idle for too long."""
        oldest_allowed = trio.current_time() - self._idle_timeout
        while self._by_age and (oldest := next(iter(self._by_age))).idle_since <= oldest_allowed:
            self._close(oldest)
        self._by_peer = {peer: streams for peer, streams in self._by_peer.items() if streams}
        self._by_owner = {owner: streams for owner, streams in self._by_owner.items() if streams}

    def close(self) -> None:
        """Close every idle connection, and each one given back from now on."""
        self._closed = True
        while self._by_age:
            self._close(next(iter(self._by_age)))

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep for ever, and close the pool when cancelled; without this, idle sockets stay open."""
        try:
            task_status.started()
            while True:
                await trio.sleep(self._idle_timeout / 2)
                self.sweep()
        finally:
            self.close()

    def _distrusts(self, peer: Peer, now: float) -> bool:
        while self._untrusted and next(iter(self._untrusted.values())) <= now:
            self._untrusted.popitem(last=False)
        return peer in self._untrusted

    def _is_young(self, stream: SocketStream, now: float) -> bool:
        return now - stream.opened < self._max_age

    def _close(self, stream: SocketStream) -> None:
        peer = self._by_age.pop(stream)
        self._by_peer[peer].remove(stream)
        del self._by_owner[peer[1]][stream]
        stream.close()
