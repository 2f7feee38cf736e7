"""The pulse: one statement now and then tells a daemon at rest whether there is something to do.

While many events come, it polls often and says so in the database, so that publishers send no hints; it
leaves that out while the router is at work, which looks for itself. At rest it polls seldom, and hints wake
the router.
"""

import logging
import random
from collections.abc import Callable

import trio
from asyncpg import PostgresError

from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.queue import pulse, stay_awake

logger = logging.getLogger("hookd.pulse")

BUSY = 100.0
"""Events routed in a second from which on it is worth staying awake."""
AWAKE = 5.0
"""Seconds for which publishers are told to send no hints; polling stays quick for a second longer."""
QUICK, STEADY, SLOW = 0.005, 0.25, 4.0
"""Seconds between polls: awake; at rest; at rest where hints arrive."""
FAULT_PAUSE = 5.0


class Demand:
    """How many events were routed in the last second or so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._count = 0
        self._rate = 0.0
        self._noted = float("-inf")

    def note(self, events: int) -> None:
        """Count events that were routed just now."""
        self._turn()
        self._count += events
        self._noted = self._clock()

    def busy(self) -> bool:
        """Tell whether events come so fast that hints would cost more than polling."""
        self._turn()
        return self._rate >= BUSY

    def at_work(self) -> bool:
        """Tell whether events were routed a moment ago."""
        return self._clock() < self._noted + QUICK

    def _turn(self) -> None:
        passed = self._clock() - self._since
        if passed >= 1.0:
            self._rate = self._count / passed
            self._since += passed
            self._count = 0


async def serve_pulse(
    database: Database,
    *,
    demand: Demand,
    hinted: Callable[[], bool],
    published: Callable[[], None],
    claimable: Callable[[], None],
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Look until `stopping`; call `published` when there are events to route, `claimable` for what is due.

    `hinted` tells whether hints arrive.
    """
    task_status.started()
    said = quick_until = -AWAKE
    while not stopping.is_set():
        now = trio.current_time()
        try:
            if demand.busy() and now >= said + AWAKE / 2:
                await stay_awake(database, AWAKE)
                said, quick_until = now, now + AWAKE + 1
            if now >= quick_until or not demand.at_work():
                seen = await pulse(database)
                if seen.inbox:
                    published()
                if seen.due:
                    claimable()
            pause = QUICK if now < quick_until else SLOW if hinted() else STEADY
        except (DatabaseUnavailable, RetryTransaction) as error:
            logger.debug("the pulse waits for Postgres: %s", error)
            pause = STEADY
        except PostgresError:
            logger.exception("the pulse failed and goes on after a pause; report this")
            pause = FAULT_PAUSE
        with trio.move_on_after(pause * random.uniform(0.8, 1.2)):
            await stopping.wait()
