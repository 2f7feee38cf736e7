"""Claiming: leases as many due deliveries as the senders can take and hands them over at once."""

import math
from dataclasses import dataclass
from uuid import UUID

import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.claims import Claims
from daemon.delivery.governor import Governor
from daemon.delivery.run_forever import Pauses, run_forever
from daemon.model import Outcome
from daemon.progress import Progress
from daemon.store.database import Database
from daemon.store.results import Result, leased

GATHER = 0.005
"""Seconds for which a busy claimer waits for more free slots, so that it claims in batches."""
MAX_WAIT = 30.0
"""Seconds after which it looks by itself; the poller wakes it before."""
PAUSES = Pauses(retry=GATHER / 2, outage=0.5)


@dataclass
class Claimer:
    """Claims by a connection of its own; `wake` is set when there may be work, or free slots.

    What `claims` are in doubt of it gives back through `results`.
    """

    database: Database
    claims: Claims
    governor: Governor
    results: trio.MemorySendChannel[Result]
    wake: AutoResetEvent
    progress: Progress

    async def run(self, stopping: trio.Event) -> None:
        """Claim until `stopping`."""
        async with self.results:
            await run_forever(
                "claimer", self._step, stopping, wake=self.wake, pauses=PAUSES, progress=self.progress
            )

    async def _step(self, woken: bool) -> float:
        claims, senders = self.claims, self.claims.senders
        claims.next_look = math.inf
        if not senders.capacity.free_slots:
            await senders.freed.wait(MAX_WAIT)
        if self.governor.claims_yield or not (senders.wants_work() and senders.capacity.free_slots):
            await trio.sleep(GATHER)
            return 0.0
        self.progress.begin()
        while claims.in_doubt:
            await self._give_back(claims.in_doubt[0])
            del claims.in_doubt[0]  # a router may have added more meanwhile
        self.governor.note_claim()
        claimed = await self.database.run(claims.claim)
        self.progress.done()
        wait = MAX_WAIT if claimed.next_due is None else min(MAX_WAIT, claimed.next_due)
        if not claimed.deliveries:
            wait = max(wait, GATHER)  # what is due may be in another daemon's hands just now
        if wait:
            claims.next_look = trio.current_time() + wait
        return wait

    async def _give_back(self, token: UUID) -> None:
        held = await leased(self.database, token)
        if held:
            self.claims.leases.add(token, len(held))
        for one in held:
            await self.results.send(one.result(Outcome.UNSENT))
