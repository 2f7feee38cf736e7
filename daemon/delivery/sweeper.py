"""Sweeping: gives back what dead daemons held, seeks faults in the queue, and drops what deletions left."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from daemon.delivery.attempt_metrics import count_attempts
from daemon.delivery.run_forever import Pauses, jittered, run_forever
from daemon.metrics import Metrics
from daemon.model import Outcome
from daemon.store.database import Connection, Database
from daemon.store.floors import look_below_floors
from daemon.store.queue import repair
from daemon.store.results import Recorded, expired, record
from daemon.store.upkeep import purge

logger = logging.getLogger("hookd.sweeper")

PERIOD = 5.0
"""Seconds between two rounds."""
MAX_LEASES = 20
"""Leases that are ended in one round."""
PURGE_EVERY, MAX_PURGES = 2, 50
"""Rounds between two looks for what deleted subscriptions left, and slices of it that are dropped in one."""
REPAIR_EVERY = 12
"""Rounds between two looks at all hosts."""
FLOORS_EVERY = 60
"""Rounds between two looks below the floors of the inbox."""


@dataclass
class Sweeper:
    """What looks for leases that have ended, and now and then for faults.

    `now` gives the database's time; `wake_claimer` is called when something became due, `wake_routers` when
    there is to route. After an outage of Postgres it waits `grace` seconds, so that daemons that live on can
    record first what they sent meanwhile. `disable_after`: as for the recorder.
    """

    database: Database
    disable_after: Callable[[], float]
    grace: float
    now: Callable[[], float]
    wake_claimer: Callable[[], None]
    wake_routers: Callable[[], None]
    metrics: Metrics
    _rounds: int = 0

    async def run(self, stopping: trio.Event) -> None:
        """Sweep until `stopping`."""
        pauses = Pauses(outage=self.grace, fault=self.grace)
        await run_forever("sweeper", partial(self._step, stopping), stopping, pauses=pauses)

    async def _step(self, stopping: trio.Event, woken: bool) -> float:
        if await self._reap():
            self.wake_claimer()
        if self._rounds % REPAIR_EVERY == 0 and await look_over(self.database):
            self.wake_claimer()
        if self._rounds % FLOORS_EVERY == 0 and await look_below_floors(self.database):
            self.wake_routers()
        if self._rounds % PURGE_EVERY == 0:
            for _ in range(MAX_PURGES):
                if stopping.is_set() or not await purge(self.database):
                    break
        self._rounds += 1
        return jittered(PERIOD)

    async def _reap(self) -> int:
        """Make due again what leases past their end still hold, with an `interrupted` in the history."""
        held, tokens = await expired(self.database, MAX_LEASES)
        if not tokens:
            return 0
        at = self.now()
        results = [one.result(Outcome.INTERRUPTED, "interrupted", at) for one in held]

        async def unit(connection: Connection) -> Recorded:
            return await record(self.database, connection, results, tokens, self.disable_after())

        counted = (await self.database.run(unit)).counted
        count_attempts(self.metrics, (one for one, was in zip(results, counted, strict=False) if was))
        if results:
            logger.warning(
                "%d deliveries of %d leases are due again: who claimed them did not record an outcome",
                len(results),
                len(tokens),
            )
        return len(results)


async def look_over(database: Database) -> bool:
    """Look at every host without trusting floors and counters; tell whether something was off."""
    after, off = 0, False
    while (found := await repair(database, after)) is not None:
        after = found.last_host
        if found.drifted or found.asleep:
            off = True
            logger.warning(
                "the safety net corrected %d counters and woke %d hosts; report this with the log around it",
                found.drifted,
                found.asleep,
            )
    return off
