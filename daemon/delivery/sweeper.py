"""Sweeping: gives back what dead daemons held, seeks faults in the queue, and drops what deletions left."""

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext

import trio
from asyncpg import PostgresError

from daemon.delivery.attempt_metrics import count_attempts
from daemon.metrics import Metrics
from daemon.model import Outcome
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.floors import look_below_floors
from daemon.store.queue import repair
from daemon.store.results import expired, recording
from daemon.store.upkeep import purge

logger = logging.getLogger("hookd.sweeper")

PERIOD = 5.0
AGAIN = 0.05
"""Seconds between looks for leases that have ended."""
LEASES = 20
PURGE_EVERY = 2
"""Rounds between two looks for what deleted subscriptions left."""
PURGES = 50
"""Slices of it that are dropped at most in one round."""
REPAIR_EVERY = 12
"""Rounds between two looks at all hosts."""
FLOORS_EVERY = 60
"""Rounds between two looks below the floors of the inbox."""


async def serve_sweeper(
    database: Database,
    *,
    disable_after: Callable[[], float],
    grace: float,
    swept: Callable[[], None],
    found_below: Callable[[], None],
    now: Callable[[], float],
    metrics: Metrics,
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sweep until `stopping`.

    `swept` is called when something became due, `found_below` when there is to route.

    After an outage of Postgres it waits `grace` seconds, so that daemons that live on can record first what
    they sent meanwhile.
    """
    task_status.started()
    rounds = 0
    while not stopping.is_set():
        try:
            if await reap(database, disable_after(), now, metrics):
                swept()
            if rounds % REPAIR_EVERY == 0 and await look_over(database):
                swept()
            if rounds % FLOORS_EVERY == 0 and await look_below_floors(database):
                found_below()
            if rounds % PURGE_EVERY == 0:
                for _ in range(PURGES):
                    if stopping.is_set() or not await purge(database):
                        break
            rounds += 1
            pause = PERIOD
        except RetryTransaction:
            pause = AGAIN
        except DatabaseUnavailable as error:
            logger.debug("sweeping waits for Postgres: %s", error)
            pause = grace
        except PostgresError:
            logger.exception("sweeping failed and goes on after a pause; report this")
            pause = grace
        with trio.move_on_after(pause * random.uniform(0.8, 1.2)):
            await stopping.wait()


async def reap(database: Database, disable_after: float, now: Callable[[], float], metrics: Metrics) -> int:
    """Make due again what leases past their end still hold, with an attempt `interrupted` in the history."""
    held, tokens = await expired(database, LEASES)
    if not tokens:
        return 0
    at = now()
    results = [one.result(Outcome.INTERRUPTED, "interrupted", at) for one in held]
    written = await database.run(recording(database, results, tokens, disable_after, nullcontext))
    count_attempts(metrics, (one for one, counted in zip(results, written.counted, strict=False) if counted))
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
