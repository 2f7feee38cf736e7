"""Attendance: a daemon that claims says so now and then, and each prefers a part of the hosts."""

import logging
import random
from collections.abc import Callable
from uuid import uuid4

import trio
from asyncpg import PostgresError

from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.queue import Place, attend, leave

logger = logging.getLogger("hookd.attendance")

EVERY, LIFETIME = 5.0, 15.0
"""Seconds from one word to the next, and after which whoever is silent counts no more."""
FAULT_PAUSE = 60.0
LEAVING = 1.0
"""Seconds that saying goodbye may take."""


async def serve_attendance(
    database: Database,
    *,
    placed: Callable[[Place], None],
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Attend until `stopping`; `placed` hears of this daemon's place among those that live.

    While Postgres does not answer, the last place counts: an old one only costs speed.
    """
    daemon = uuid4()
    task_status.started()
    while not stopping.is_set():
        pause = EVERY
        try:
            placed(await attend(database, daemon, LIFETIME))
        except (DatabaseUnavailable, RetryTransaction) as error:
            logger.debug("attendance waits for Postgres: %s", error)
        except PostgresError:
            logger.exception("attendance failed and goes on after a pause; report this")
            pause = FAULT_PAUSE
        with trio.move_on_after(pause * random.uniform(0.8, 1.2)):
            await stopping.wait()
    with trio.move_on_after(LEAVING):
        try:
            await leave(database, daemon)
        except (DatabaseUnavailable, RetryTransaction, PostgresError) as error:
            logger.debug("the other daemons notice by themselves that this one has gone: %s", error)
