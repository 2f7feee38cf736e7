"""Upkeep: partitions made far ahead and dropped when old, what nobody needs any more forgotten."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

import trio
from asyncpg import PostgresError

from daemon.clock import Clock
from daemon.delivery.attempt_metrics import count_given_up
from daemon.delivery.doorbell import Doorbell
from daemon.metrics import Metrics
from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.retention import retain
from daemon.store.upkeep import Partitions, forget_hosts, forget_keys, forget_secrets, make_partitions

logger = logging.getLogger("hookd.upkeep")

PERIOD = 3600.0
AGAIN = 30.0
ALARM = timedelta(weeks=3)


async def serve_partitions(
    database: Database,
    *,
    ages: Callable[[], Mapping[str, float]],
    clock: Clock,
    doorbell: Doorbell,
    metrics: Metrics,
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep eight weeks of partitions ahead, and drop those older than `ages` (seconds, by table).

    It does so every hour, and when the doorbell rings: rung after `stopping`, it ends this.
    An error line says so if fewer than three weeks are left.
    """

    async def unit(connection: Connection) -> Partitions:
        return await make_partitions(connection, database)

    def expired(count: int) -> None:
        count_given_up(metrics, "expired", count)

    task_status.started()
    while not stopping.is_set():
        pause = PERIOD
        try:
            partitions = await database.run(unit)
            for name in partitions.made:
                logger.info("made the partition %s", name)
            await forget_keys(database)
            await forget_secrets(database, ages()["attempt"])
            await forget_hosts(database)
            for name in await retain(database, ages(), expired=expired):
                logger.info("dropped the partition %s, as [retention] says", name)
            if partitions.until.timestamp() - clock.now() < ALARM.total_seconds():
                logger.error(
                    "partitions reach only to %s: publishing fails after that; see the log of Postgres for"
                    " why none can be made",
                    partitions.until.date(),
                )
        except (DatabaseUnavailable, RetryTransaction) as error:
            logger.debug("upkeep waits for Postgres: %s", error)
            pause = AGAIN
        except PostgresError:
            logger.exception("upkeep failed and goes on after a pause; report this")
            pause = AGAIN
        await doorbell.wait(pause)
