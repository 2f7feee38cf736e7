"""The senders: a fixed number of tasks, each at one request at a time, and the few deliveries next up."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.fair_queue import FairQueue
from daemon.delivery.sender import Sender
from daemon.model import Outcome
from daemon.store.precedence import Precedence
from daemon.store.queue import Claimed, Shares
from daemon.store.results import Result

HAND_BACK = 2.0
"""Seconds within which a cancelled sender must get rid of its result."""
AT_ONCE, TURN = 128, 0.001
"""Requests that are begun in so many seconds, or in one turn of Trio's loop where that takes longer."""
MAKING_WAY, AT_ONCE_THEN, CLAIM_THEN = 0.5, 16, 64
"""Seconds after events were routed in which turns are kept short, since a new event needs several, one
after another; then so many are begun in one, and so many claimed, or as many as end in half a `Pace.PERIOD`.
A backlog alone goes faster in long turns."""
OTHERS, LARGEST = 3, 32
"""An organisation may have so many times as many senders as are free: three quarters, if it is alone. That is
looked at for so many, those that have most."""
STALE = 1.0
"""Seconds after which a delivery that no sender has come to goes back: they hang, and its lease burns."""


class Pace:
    """How many requests end in `PERIOD` seconds just now."""

    PERIOD = 1 / 16

    def __init__(self) -> None:
        self.ended = 0
        self._since = 0.0
        self._of_period = 0

    def measure(self, now: float) -> int:
        """Return how many ended in the last whole period."""
        passed = now - self._since
        if passed >= self.PERIOD:
            self._of_period = int(self.ended * self.PERIOD / passed)
            self._since, self.ended = now, 0
        return self._of_period


class Senders:
    """`count` senders, `share` of which at most serve lanes and hosts that have not answered in time of late.

    So that they need not wait for the next claim, about as many deliveries may wait for them as they finish
    in a sixteenth of a second, at most two for each; while they hang that is none. While an event has
    `precedence`, they begin what has only just been published, and at most as many out of a backlog with it.
    """

    def __init__(
        self,
        sender: Sender,
        results: trio.MemorySendChannel[Result],
        *,
        count: int,
        share: float,
        poll_sockets: Callable[[], None],
        precedence: Precedence,
        now: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._results = results
        self._poll_sockets = poll_sockets
        self._precedence = precedence
        self._now = now
        self._count = count
        self._probes = max(1, int(count * share))
        self._probing = 0
        self._busy = 0
        self._of = Counter[UUID]()  # an organisation: what it has under way or next up
        self._probes_of = Counter[UUID]()
        self._waiting = FairQueue[tuple[Claimed, bool, float]]()
        self._idle = trio.lowlevel.ParkingLot()
        self._pace = Pace()
        self._left = AT_ONCE
        self._promised = self._promised_probes = 0
        self._making_way_until = -math.inf
        self._closed = False
        self._started = AutoResetEvent()
        self.freed = AutoResetEvent()

    @property
    def busy(self) -> int:
        """Requests under way."""
        return self._busy

    def hungry(self) -> bool:
        """Tell whether a claim is worth while now: few deliveries wait, or there is room for many."""
        return not self._waiting or self._free() >= self._count

    def room(self) -> int:
        """Return how many deliveries may be claimed now; few while it makes way, for quick claims."""
        most = max(CLAIM_THEN, self._ahead() // 2) if self._makes_way() else 3 * self._count
        return max(0, min(most, self._free()))

    @property
    def claiming(self) -> bool:
        """Tell whether a claim is under way."""
        return self._promised > 0

    def make_way(self) -> None:
        """Events were routed just now."""
        self._making_way_until = trio.current_time() + MAKING_WAY
        self._left = min(self._left, AT_ONCE_THEN)

    @property
    def probe_room(self) -> int:
        """How many of them may go to lanes that have not answered in time of late."""
        return max(0, self._probes - self._probing - self._promised_probes)

    def shares(self) -> Shares:
        """Return who may have no more senders, so that some are left for whoever comes."""
        return _shares(self._of, self._free())

    def probe_shares(self) -> Shares:
        """Return the same for lanes that have not answered in time of late."""
        return _shares(self._probes_of, self.probe_room)

    @contextmanager
    def promised(self, room: int, probe_room: int) -> Iterator[None]:
        """Keep the room of a claim under way from others."""
        self._promised += room
        self._promised_probes += probe_room
        try:
            yield
        finally:
            self._promised -= room
            self._promised_probes -= probe_room
            self.freed.set()

    def start(self, deliveries: Iterable[tuple[Claimed, bool]], *, fresh: bool = False) -> None:
        """Take deliveries over, each with whether it is a probe: to such a lane.

        `fresh`: they have only just been published, and do not wait behind a backlog.
        """
        now = trio.current_time()
        for claimed, probe in deliveries:
            self._waiting.push(claimed.host_id, (claimed, probe, now), fresh=fresh)
            self._probing += probe
            self._of[claimed.org_id] += 1
            self._probes_of[claimed.org_id] += probe
        self._wake()
        self._started.set()

    async def close(self) -> None:
        """Take no more, and give back what waits: each sender ends after the request that it is at."""
        self._closed = True
        while self._waiting:
            claimed, _, _ = self._waiting.pop()
            await self._results.send(claimed.result(Outcome.UNSENT))
        self._idle.unpark_all()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the senders until `close`. Cancelled, they record what is under way as interrupted."""
        async with self._results, trio.open_nursery() as beside:
            beside.start_soon(self._meter)
            async with trio.open_nursery() as nursery:
                for _ in range(self._count):
                    nursery.start_soon(self._run)
                task_status.started()
            beside.cancel_scope.cancel()

    def _free(self) -> int:
        return self._count + self._ahead() - self._busy - len(self._waiting) - self._promised

    def _ahead(self) -> int:
        return min(2 * self._count, self._pace.measure(trio.current_time()))

    def _makes_way(self) -> bool:
        return trio.current_time() < self._making_way_until

    def _wake(self) -> None:
        woken = min(len(self._waiting), len(self._idle), self._left)
        if self._precedence.given:
            woken = min(woken, 2 * self._waiting.fresh)
        self._idle.unpark(count=woken)
        self._left -= woken

    async def _meter(self) -> None:
        """Give out `_left`: first to senders that end a request and go on, what is over to idle ones.

        So where receivers are quick, few senders do it all, and need few connections.
        """
        while True:
            await self._started.wait(math.inf)
            going_on = True
            while going_on:
                await trio.sleep(TURN)
                self._wake()
                self._left = AT_ONCE_THEN if self._makes_way() else AT_ONCE
                going_on = bool(self._waiting and self._idle)

    async def _run(self) -> None:
        waiting, results, precedence = self._waiting, self._results, self._precedence
        while True:
            if precedence.given:
                self._poll_sockets()  # what it is given for may have come
            while not waiting or not self._left or (precedence.given and not waiting.fresh):
                if self._closed:
                    return
                if waiting:
                    self._started.set()
                await self._idle.park()
                if waiting:
                    break
            else:
                self._left -= 1
            self._poll_sockets()
            claimed, probe, since = waiting.pop()
            self._busy += 1
            try:
                if trio.current_time() - since > STALE:
                    result = claimed.result(Outcome.UNSENT)
                else:
                    result = await self._sender.send(claimed)
            except trio.Cancelled:
                with trio.move_on_after(HAND_BACK, shield=True):
                    await results.send(claimed.result(Outcome.INTERRUPTED, "interrupted", self._now()))
                raise
            finally:
                self._busy -= 1
                self._probing -= probe
                _take(self._of, claimed.org_id, 1)
                _take(self._probes_of, claimed.org_id, probe)
            try:
                results.send_nowait(result)
            except trio.WouldBlock:
                await results.send(result)
            self._pace.ended += 1
            self.freed.set()


def _shares(had: Counter[UUID], free: int) -> Shares:
    if free < 1:
        return Shares()
    largest = had.most_common(LARGEST)
    full = tuple(org for org, count in largest if count >= OTHERS * free)
    return Shares(full, math.ceil(free * OTHERS / (OTHERS + 1)))


def _take(had: Counter[UUID], org: UUID, count: int) -> None:
    had[org] -= count
    if not had[org]:
        del had[org]
