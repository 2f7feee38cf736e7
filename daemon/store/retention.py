"""Retention: whole partitions go once all in them is old enough, and nothing pending goes with them.

What is old is told by Postgres' clock, and only once that has gone on evenly for an hour: after a leap, what
it says may be wrong, and what is dropped does not come back.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from daemon.store.database import Connection, Database

EXPIRE_AT_ONCE = 1000
PARTITION = re.compile(r"(event|attempt)_\d{8}")
DUTY, DUTY_TIME = "retention", timedelta(minutes=5)
"""How long a daemon that has died keeps the others from it; who is at it says so again and again."""
CLOCK_GAP = timedelta(hours=2)
"""Time between two looks at the clock after which it may have leapt: they come every minute."""
CLOCK_STAND = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SeenClock:
    """A look at Postgres' clock: from `even_from` on it may be gone by.

    `leapt_from`: the time last seen before, by whichever daemon, if this one is far from it.
    """

    at: datetime
    even_from: datetime
    leapt_from: datetime | None

    @property
    def is_even(self) -> bool:
        """Whether what is old by this clock may be dropped."""
        return self.at >= self.even_from

    @property
    def set_back_from(self) -> datetime | None:
        """The time from which the clock was set back, until `set_back` has followed it."""
        return self.leapt_from if self.leapt_from is not None and self.leapt_from > self.at else None


async def see_clock(database: Database) -> SeenClock:
    """Look at Postgres' clock, and remember there that it was seen. Errors: as `Database.run`."""

    async def unit(connection: Connection) -> SeenClock:
        (row,) = await connection.fetch(database.sql("see_clock"), CLOCK_GAP, CLOCK_STAND)
        return SeenClock(**row)

    return await database.run(unit)


async def retain(
    database: Database,
    ages: Mapping[str, float],
    *,
    now: datetime,
    expired: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Drop what is older than `ages` (seconds, by table: event, attempt); return the partitions dropped.

    `now` is a time of Postgres' clock that may be gone by: see `SeenClock.is_even`. What is still pending of
    expiring events is given up first, with the reason `expired`; while one of them is being sent, the
    partition stays until the next time. `expired` is told how many were given up. Errors: as `Database.run`.
    """
    holder = uuid4()
    dropped: list[str] = []

    async def unit(connection: Connection) -> None:
        work = _Retention(connection, database, holder, expired)
        if not await work.keep_duty():
            return  # another daemon is at it
        try:
            await work.detach_old({table: now - timedelta(seconds=age) for table, age in ages.items()})
            dropped.extend(await work.drop_detached())
        finally:
            await connection.execute(database.sql("leave_duty"), DUTY, holder)

    await database.run(unit)
    return dropped


class _Retention:
    """One round of it: no transaction, which detaching concurrently forbids, and no state of the session.

    A daemon that is held up for longer than its duty lasts may meet another one at the same work: each step
    bears that.
    """

    def __init__(
        self, connection: Connection, database: Database, holder: UUID, expired: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._database = database
        self._holder = holder
        self._expired = expired

    async def keep_duty(self) -> bool:
        """Tell whether this is for us to do, for the next minutes."""
        statement = self._database.sql("take_duty")
        return bool(await self._connection.fetchval(statement, DUTY, self._holder, DUTY_TIME))

    async def detach_old(self, before: Mapping[str, datetime]) -> None:
        """Detach the partitions that ended `before` that, by table, and those half detached already."""
        for row in await self._connection.fetch(self._database.sql("partitions")):
            parent, name, ends_at = row["parent"], row["name"], row["ends_at"]
            if not row["detached"]:
                if ends_at > before[parent]:
                    continue
                if parent == "event" and not await self._give_up(ends_at):
                    continue
            if not await self.keep_duty():
                return
            statement = self._database.sql("finish_detaching" if row["detached"] else "detach_partition")
            with suppress(asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError):
                await self._connection.execute(_named(statement, parent, name))

    async def drop_detached(self) -> list[str]:
        """Drop what is detached, by whomever; return the names."""
        dropped: list[str] = []
        for row in await self._connection.fetch(self._database.sql("detached_partitions")):
            await self._connection.execute(_named(self._database.sql("drop_partition"), "", row["name"]))
            dropped.append(row["name"])
        return dropped

    async def _give_up(self, before: datetime) -> bool:
        """Give up what is pending of events before that moment; tell whether none of it is left."""
        statement = self._database.sql("expire")
        pending = await self._connection.fetchval(statement, before, 0)  # only counts
        while await self.keep_duty():
            left = await self._connection.fetchval(statement, before, EXPIRE_AT_ONCE)
            self._expired(max(0, pending - left))
            if left == 0 or left == pending:
                return bool(left == 0)
            pending = left
        return False


def _named(statement: str, parent: str, partition: str) -> str:
    # Names of tables cannot be parameters; these come from the catalogue and are looked at once more.
    if not PARTITION.fullmatch(partition):
        raise ValueError(f"{partition!r} is not the name of a partition")
    return statement.format(parent=parent, partition=partition)
