"""Replaying: makes deliveries of what replays owe, few at a time, so that live events are not delayed."""

import logging
import random
from collections.abc import Callable
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.replays import drop_cancelled, feed

logger = logging.getLogger("hookd.replayer")

QUICKEST, SLOWEST = 0.04, 1.0
"""Seconds between rounds while a replay runs: doubling while none has room."""
IDLE = 10.0
"""Seconds between looks for a replay that another daemon was asked for."""
TIDY = 60.0
"""Seconds between looks for what cancelled replays left."""
REMEMBERED = 1000
FAULT_PAUSE = 5.0


async def serve_replays(
    database: Database,
    *,
    rate: Callable[[], float],
    wake: AutoResetEvent,
    fed: Callable[[], None],
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Feed until `stopping`, each replay with at most `rate` deliveries a second, from all daemons together.

    Set `wake` when a replay was asked for or cancelled, and to stop. `fed` is called after deliveries
    were made.
    """
    task_status.started()
    last: dict[UUID, UUID] = {}
    tidy_at = trio.current_time()
    pause = QUICKEST
    while not stopping.is_set():
        try:
            round_ = await feed(database, rate(), last)
            last |= round_.last
            while len(last) > REMEMBERED:
                last.pop(next(iter(last)))  # to have forgotten one only costs time
            if round_.made:
                fed()
            pause = QUICKEST if round_.last else min(SLOWEST, pause * 2) if round_.running else IDLE
            if trio.current_time() >= tidy_at:
                tidy_at = trio.current_time() + (0 if await drop_cancelled(database) else TIDY)
                pause = min(pause, max(QUICKEST, tidy_at - trio.current_time()))
        except RetryTransaction:
            pause = QUICKEST
        except DatabaseUnavailable as error:
            logger.debug("replays wait for Postgres: %s", error)
            pause = IDLE
        except PostgresError:
            logger.exception("feeding replays failed and goes on after a pause; report this")
            pause = FAULT_PAUSE
        if await wake.wait(pause * random.uniform(0.8, 1.2)):
            pause, tidy_at = QUICKEST, trio.current_time()
