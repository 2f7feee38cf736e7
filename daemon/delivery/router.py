"""Routing: a router takes round after round of events from the inbox and waits when there are none.

A daemon has two: one serves the shards with a burst or a wide fan-out in front, and the other all who must
not wait for those; each wakes the other where a burst begins or ends. Rounds of the former are bulk work,
which yields as the governor says, but for those that serve a single event that came into a burst's shard.
What was routed is claimed in the same transaction and handed to the senders at once.
"""

import asyncio
import math
from dataclasses import dataclass, field

import trio

from daemon.delivery.body_writer import BodyWriter
from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.claims import Claims
from daemon.delivery.governor import MIN_ROUND_EVENTS, Governor
from daemon.delivery.poller import PublishRate
from daemon.delivery.run_forever import Pauses, run_forever
from daemon.progress import Progress
from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.database import Connection, Database, DatabaseUnavailable
from daemon.store.routing import Opened, Round, RoundRequest, make_plans, next_round, write_round

GATHER = 0.005
"""Seconds for which a router at work lets events gather."""
QUICK, MAX_WAIT = 0.005, 30.0
"""Seconds after which it looks by itself: while nothing wakes it; and else."""
WAKE_INTERVAL = 0.1
"""Seconds after which the router for bulk work wakes the other one, whatever it does."""
MAX_CONNECTION_USE = 600.0
"""Seconds after which the connection is given back, which replaces it now and then."""
FEW_DELIVERIES, MANY_DELIVERIES = 150, 400
"""In one routing transaction: few where others wait for its end, many of bulk work."""
URGENT_ROUNDS = 2
"""Rounds in a burst's shard of which one is for those who pass it."""
PAUSES = Pauses(retry=GATHER / 2, outage=0.5, fault=0.2)


@dataclass
class RouterState:
    """What a router, for `bulk` work or not, knows between its rounds. Pure.

    `told`: something was announced that no round has met yet. `urgent_rounds`: so many are for a single event
    in a burst's shard. `worked`: there were rounds since the other router was told that nothing is left.
    `gathers`: all there was has been taken.
    """

    bulk: bool
    told: bool = False
    urgent_rounds: int = 0
    worked: bool = False
    gathers: bool = False
    other_woken_at: float = -math.inf

    def begin_round(self) -> bool:
        """Return whether the round that begins is an urgent one."""
        urgent = self.urgent_rounds > 0
        self.urgent_rounds = max(0, self.urgent_rounds - 1)
        return urgent

    def end_round(self, done: Round, now: float) -> bool:
        """Return whether the other router is to look after this round: a burst begins, or ends, there."""
        self.gathers, self.worked, self.told = not done.cut, True, False
        if not done.cut:
            self.urgent_rounds = 0
        if done.cut == self.bulk and not (self.bulk and now > self.other_woken_at + WAKE_INTERVAL):
            return False
        self.other_woken_at = now
        return True

    def end_search(self) -> bool:
        """Return whether something was announced and not found: it may be in a burst's shard."""
        told, self.told = self.told, False
        return told

    def find_nothing(self) -> bool:
        """Return whether the other router is to look, as nothing is left: who came meanwhile is its own."""
        worked, self.worked = self.worked, False
        return self.bulk and worked

    def serve_single_next(self) -> None:
        """Somebody may wait in a burst's shard, and one of the next rounds serves those who pass it."""
        self.urgent_rounds = URGENT_ROUNDS


@dataclass
class Router:
    """One of the two, on a connection of its own that it keeps for long units of work.

    `wake` is set when there is something to route, `other_wake` wakes the other router; `urgent` is set by
    the router for single events and heard by the one for bulk work. `bodies` makes those of events from SQL.
    """

    state: RouterState
    database: Database
    wake: AsyncioAutoResetEvent
    other_wake: AsyncioAutoResetEvent
    urgent: AsyncioAutoResetEvent
    governor: Governor
    lock: BulkLock
    claims: Claims
    bodies: BodyWriter
    publish_rate: PublishRate
    progress: Progress
    _failed: bool = False
    _idle: bool = False
    _give_back_at: float = 0.0
    _stopping: trio.Event = field(default_factory=trio.Event)

    async def run(self, stopping: trio.Event) -> None:
        """Route until `stopping`."""
        self._stopping = stopping
        await run_forever("router", self._work, stopping, pauses=PAUSES, progress=self.progress)

    async def _work(self, woken: bool) -> float:
        """Do one long unit of work."""
        if self._failed:
            self.claims.wake()  # it gives back what a claim may have leased, and not before that has ended
            self.other_wake.set(news=False)  # some shard may have been routed, and be the other's now
        self._failed = True
        self._give_back_at = trio.current_time() + MAX_CONNECTION_USE
        self.progress.begin()
        try:
            await self.database.run(self._unit)
        except DatabaseUnavailable:
            if not self._idle:
                raise
            self._idle = False  # the connection was lost while nobody used it: try another one at once
        self._failed = False
        return 0.0

    async def _unit(self, connection: Connection) -> None:
        await make_plans(self.database, connection)
        more = True
        while await self._wait(more):
            more = await self._round(connection)

    async def _wait(self, more: bool) -> bool:
        """Wait until a round is due, `more`: there may be events; return whether to go on."""
        state, bulk = self.state, self.state.bulk
        self.progress.rest() if more else self.progress.done()
        self._idle = not more
        if state.end_search():
            self.urgent.set()
        if not bulk:
            self.governor.end_announcement()
        elif await self.urgent.wait(self.governor.rest() if more and not state.urgent_rounds else 0.0):
            state.serve_single_next()
        if not more:
            await self._wait_for_events()
        if trio.current_time() >= self._give_back_at or self._stopping.is_set():
            return False
        self.progress.begin()
        return True

    async def _wait_for_events(self) -> None:
        if self.state.find_nothing():
            self.other_wake.set(news=False)
        if self.state.gathers:
            await asyncio.sleep(GATHER)
            self.state.gathers = False
        quick = self.publish_rate.awake() and not self.state.bulk
        news = await self.wake.wait(QUICK if quick else MAX_WAIT)
        if news and not self.state.bulk:
            self.state.told = True
            if not self.publish_rate.awake():  # else many come, and most of them without being announced
                self.governor.announce()

    async def _round(self, connection: Connection) -> bool:
        """Do one round, when it may begin; return whether there may be more to route."""
        urgent = self.state.begin_round()
        if urgent or not self.state.bulk:
            return (await self._route(connection, MIN_ROUND_EVENTS)).more
        async with self.lock.piece():
            events = self.governor.round_events
            if await self.urgent.wait(0.0):  # somebody came while it waited
                self.state.serve_single_next()
                self.state.begin_round()
                events = MIN_ROUND_EVENTS
            began = trio.current_time()
            done = await self._route(connection, events)
            self.governor.note_round(done.events, began, trio.current_time())
            return done.more

    async def _route(self, connection: Connection, events: int) -> Round:
        bulk, database = self.state.bulk, self.database
        with self.claims.with_round(bulk) as reserved:
            deliveries = MANY_DELIVERIES if bulk else FEW_DELIVERIES
            request = RoundRequest(bulk, events, deliveries, reserved.request)
            done = await next_round(database, connection, request)
            if isinstance(done, Opened):
                bodies = await self.bodies.write(done.events)
                done = await write_round(database, connection, done, bodies)
            self._note(done)
            await self.claims.take_routed(connection, done, reserved)
        return done

    def _note(self, done: Round) -> None:
        if not (done.events or done.cut):
            return
        self.progress.done()
        if not done.cut:
            self.governor.note_single()
        elif done.events == 1:
            self.governor.note_slice()
        if self.state.end_round(done, trio.current_time()):
            self.other_wake.set(news=False)
        # A burst is often one transaction in many rounds, and its last one goes on.
        goes_on = self.state.bulk and done.cut
        self.publish_rate.note(max(0, done.transactions - 1) if goes_on else done.transactions)
