"""The senders: a fixed number of tasks, each at one request at a time, and the few deliveries next up."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.capacity import Capacity
from daemon.delivery.fair_queue import FairQueue
from daemon.delivery.governor import Governor
from daemon.delivery.sender import Sender
from daemon.model import Outcome
from daemon.store.queue import Claimed
from daemon.store.results import Result

MAX_HAND_BACK = 2.0
"""Seconds within which a cancelled sender must get rid of its result."""
TURN = 0.001
"""Seconds of a turn of Trio's loop, or longer; in each so many requests are begun as the governor says."""
MAX_AGE = 1.0
"""Seconds after which a delivery that no sender has come to goes back: they hang, and its lease burns."""


@dataclass(frozen=True, slots=True)
class _Next:
    """A delivery that waits for a sender since then; `probe`: to a lane that has not answered of late."""

    claimed: Claimed
    probe: bool
    since: float


class Senders:
    """As many senders as `capacity` says.

    While an event is on its way they begin what has only just been published, and at most as much out of a
    backlog with it. `poll_sockets` looks for what has come from Postgres, before each request and whenever
    they wait for an event on its way; `now` gives the database's time in Unix seconds.
    """

    def __init__(
        self,
        sender: Sender,
        results: trio.MemorySendChannel[Result],
        capacity: Capacity,
        governor: Governor,
        *,
        poll_sockets: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self.capacity = capacity
        self.freed = AutoResetEvent()
        self.busy = 0
        self._sender = sender
        self._results = results
        self._governor = governor
        self._poll_sockets = poll_sockets
        self._now = now
        self._waiting = FairQueue[_Next]()
        self._idle = trio.lowlevel.ParkingLot()
        self._left = governor.requests_at_once  # requests that may still be begun in this turn
        self._closed = False
        self._started = AutoResetEvent()

    def wants_work(self) -> bool:
        """Return whether a claim is worth while now: no backlog waits, or many slots are free."""
        return len(self._waiting) <= self._waiting.fresh or self.capacity.free >= self.capacity.senders

    def start(self, deliveries: Iterable[tuple[Claimed, bool]], *, fresh: bool = False) -> None:
        """Take deliveries over, each with whether it is a probe: to such a lane.

        `fresh`: they have only just been published, and do not wait behind a backlog.
        """
        since = trio.current_time()
        for claimed, probe in deliveries:
            self._waiting.push(claimed.host_id, _Next(claimed, probe, since), fresh=fresh)
            self.capacity.take(claimed.org_id, probe)
        self._left = min(self._left, self._governor.requests_at_once)
        self._wake()
        self._started.set()

    async def close(self) -> None:
        """Take no more, and give back what waits: each sender ends after the request that it is at."""
        self._closed = True
        while self._waiting:
            one = self._waiting.pop()
            self.capacity.release(one.claimed.org_id, one.probe)
            await self._results.send(one.claimed.result(Outcome.UNSENT))
        self._idle.unpark_all()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the senders until `close`. Cancelled, they record what is under way as interrupted."""
        async with self._results, trio.open_nursery() as beside:
            beside.start_soon(self._meter)
            async with trio.open_nursery() as nursery:
                for _ in range(self.capacity.senders):
                    nursery.start_soon(self._run)
                task_status.started()
            beside.cancel_scope.cancel()

    def _wake(self) -> None:
        woken = min(len(self._waiting), len(self._idle), self._left)
        if self._governor.event_on_its_way:
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
                self._left = self._governor.requests_at_once
                going_on = bool(self._waiting and self._idle)

    def _may_begin(self) -> bool:
        """Return whether a sender that has ended a request may begin the next in this turn."""
        if not self._waiting or not self._left:
            return False
        if self._governor.event_on_its_way:
            self._poll_sockets()  # it may have come
            return self._waiting.fresh > 0
        return True

    async def _run(self) -> None:
        while True:
            if self._may_begin():
                self._left -= 1
            elif self._closed:
                return
            else:
                if self._waiting:
                    self._started.set()
                await self._idle.park()
                if not self._waiting:
                    continue
            self._poll_sockets()
            await self._send(self._waiting.pop())

    async def _send(self, one: _Next) -> None:
        claimed = one.claimed
        self.busy += 1
        try:
            if trio.current_time() - one.since > MAX_AGE:
                result = claimed.result(Outcome.UNSENT)
            else:
                result = await self._sender.send(claimed)
        except trio.Cancelled:
            with trio.move_on_after(MAX_HAND_BACK, shield=True):
                await self._results.send(claimed.result(Outcome.INTERRUPTED, "interrupted", self._now()))
            raise
        finally:
            self.busy -= 1
            self.capacity.release(claimed.org_id, one.probe)
        try:
            self._results.send_nowait(result)
        except trio.WouldBlock:
            await self._results.send(result)
        self.capacity.pace.ended += 1
        self.freed.set()
