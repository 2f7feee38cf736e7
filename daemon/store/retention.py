"""Retention: whole partitions go once all in them is old enough, and nothing owed goes with them."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg

from daemon.store.database import Connection, Database

EXPIRE_AT_ONCE = 1000
PARTITION = re.compile(r"(event|attempt)_\d{8}")


async def retain(
    database: Database, ages: Mapping[str, float], *, expired: Callable[[int], None] = lambda count: None
) -> list[str]:
    """Drop what is older than `ages` (seconds, by table: event, attempt); return the partitions dropped.

    What is still owed of expiring events is given up first, with the reason `expired`; while one of them is
    being sent, the partition stays until the next time. `expired` is told how many were given up.
    Errors: as `Database.run`.
    """
    dropped: list[str] = []

    async def unit(connection: Connection) -> None:
        if not await connection.fetchval(database.sql("retention_lock")):
            return  # another daemon is at it
        try:
            await drop_old(connection)
        finally:
            await connection.execute(database.sql("retention_unlock"))

    async def drop_old(connection: Connection) -> None:
        now = datetime.fromtimestamp(await connection.fetchval(database.sql("clock")), UTC)
        for row in await connection.fetch(database.sql("partitions")):
            if row["ends_at"] > now - timedelta(seconds=ages[row["parent"]]):
                continue
            if row["parent"] == "event" and not await _given_up(
                connection, database, row["ends_at"], expired
            ):
                continue
            name = "finish_detaching" if row["detached"] else "detach_partition"
            # Behind a transaction pooler the lock may be another session's, and another daemon quicker.
            with suppress(asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError):
                await connection.execute(_named(database.sql(name), row["parent"], row["name"]))
        for row in await connection.fetch(database.sql("detached_partitions")):
            await connection.execute(_named(database.sql("drop_partition"), "", row["name"]))
            dropped.append(row["name"])

    await database.run(unit)
    return dropped


async def _given_up(
    connection: Connection, database: Database, before: datetime, expired: Callable[[int], None]
) -> bool:
    """Give up what is owed of events before that moment; tell whether nothing of them is owed any more."""
    owed = await connection.fetchval(database.sql("expire"), before, 0)  # only counts
    while True:
        left = await connection.fetchval(database.sql("expire"), before, EXPIRE_AT_ONCE)
        expired(max(0, owed - left))
        if left == 0 or left == owed:
            return bool(left == 0)
        owed = left


def _named(statement: str, parent: str, partition: str) -> str:
    # Names of tables cannot be parameters; these come from the catalogue and are looked at once more.
    if not PARTITION.fullmatch(partition):
        raise ValueError(f"{partition!r} is not the name of a partition")
    return statement.format(parent=parent, partition=partition)
