"""The poller: one statement now and then tells a daemon at rest whether there is something to do.

While many transactions publish, they are told to send no hints, and the router looks for itself every few
milliseconds. At rest it looks seldom, and hints wake the router.
"""

import logging
import random
from collections.abc import Callable

import trio
from asyncpg import PostgresError

from daemon.progress import Progress
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.failure import IS_READ_ONLY
from daemon.store.queue import poll, stay_awake

logger = logging.getLogger("hookd.poller")

BUSY = 100.0
"""Transactions whose events are routed in a second, from which on it is worth staying awake."""
AWAKE = 5.0
"""Seconds for which publishers are told to send no hints; the router stays awake for a second longer."""
STEADY, SLOW, QUICK = 0.25, 4.0, 0.05
"""Seconds between polls; at rest where hints arrive; and at rest where publishers give none."""
FAULT_PAUSE = 5.0


class PublishRate:
    """Of how many transactions events were routed in the last second or so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._count = 0
        self._rate = 0.0
        self._awake_until = float("-inf")

    def note(self, transactions: int) -> None:
        """Count the transactions of events that were routed just now."""
        self._turn()
        self._count += transactions

    def busy(self) -> bool:
        """Tell whether so many publish that hints would cost more than polling."""
        self._turn()
        return self._rate >= BUSY

    def stay_awake(self, seconds: float) -> None:
        """No hints come for so long: the router looks for itself."""
        self._awake_until = self._clock() + seconds

    def awake(self) -> bool:
        """Tell whether the router is to look for itself."""
        return self._clock() < self._awake_until

    def _turn(self) -> None:
        passed = self._clock() - self._since
        if passed >= 1.0:
            self._rate = self._count / passed
            self._since += passed
            self._count = 0


def rest(*, awake: bool, hinted: bool, unhinted: bool) -> float:
    """Return the seconds to the next poll: `awake`, the router looks for itself meanwhile."""
    if awake:
        return STEADY
    if unhinted:
        return QUICK
    return SLOW if hinted else STEADY


async def serve_poller(
    database: Database,
    *,
    publish_rate: PublishRate,
    hinted: Callable[[], bool],
    published: Callable[[], None],
    claimable: Callable[[], None],
    stopping: trio.Event,
    progress: Progress,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Look until `stopping`; call `published` when there are events to route, `claimable` for what is due.

    `hinted` tells whether hints arrive.
    """
    task_status.started()
    said = -AWAKE
    while not stopping.is_set():
        now = trio.current_time()
        progress.begin()
        try:
            if publish_rate.busy() and now >= said + AWAKE / 2:
                await stay_awake(database, AWAKE)
                said = now
                publish_rate.stay_awake(AWAKE + 1)
            seen = await poll(database)
            if seen.inbox:
                published()
            if seen.due:
                claimable()
            if seen.read_only:
                progress.failed(IS_READ_ONLY)
            else:
                progress.done()
            pause = rest(awake=publish_rate.awake(), hinted=hinted(), unhinted=seen.unhinted)
        except (DatabaseUnavailable, RetryTransaction) as error:
            progress.failed(error)
            pause = STEADY
        except PostgresError as error:
            progress.failed(repr(error))
            logger.exception("polling failed and goes on after a pause; report this")
            pause = FAULT_PAUSE
        with trio.move_on_after(pause * random.uniform(0.8, 1.2)):
            await stopping.wait()
