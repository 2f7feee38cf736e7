"""What operators watch of the queue and of Postgres: looked at when somebody asks, and not more often."""

import logging
from dataclasses import dataclass, replace

import trio
from asyncpg import PostgresError

from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction

logger = logging.getLogger("hookd.store")

MAX_AGE = 5.0
"""Seconds for which what was seen serves again."""
DEADLINE = 2.0
MAX_COUNTED = 100_000
"""Counting ends here."""
MAX_LANES = 20_000
"""Lanes, hosts and leased deliveries that are looked through."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps Postgres from removing dead rows: for how many transactions, and seconds where known.

    `kind`: backend, standby, slot or prepared_transaction.
    """

    kind: str
    transactions: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """The whole database at one moment; `functions/87_observe.sql` says what each number is.

    None where there is nothing: no delivery due, no event in the inbox, no estimate.
    """

    due: int
    oldest_due: float | None
    pending: float | None
    inbox: int
    inbox_oldest: float | None
    circuits: int
    full_hosts: int
    paced_hosts: int
    partitions: float | None
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether Postgres answers in time, whether it takes writes, and what is seen of the queue.

    `queue`: None if that did not come in time; somebody's lock may be in the way.
    """

    answers: bool = False
    writable: bool = False
    queue: Observation | None = None


async def observe(database: Database, timeout: float = DEADLINE) -> Observation:
    """Look once, for at most `timeout` seconds. Errors: as `Database.run`."""
    statement = database.sql("observe")

    async def unit(connection: Connection) -> Observation:
        (row,) = await connection.fetch(statement, MAX_COUNTED, MAX_LANES)
        columns = dict(row)
        held = [columns.pop(name) or () for name in ("holders", "held_transactions", "held_seconds")]
        return Observation(**columns, holders=tuple(Holder(*one) for one in zip(*held, strict=True)))

    return await database.run(unit, timeout)


async def writable(database: Database, timeout: float = DEADLINE) -> bool:
    """Return whether Postgres takes writes. Errors: as `Database.run`."""
    statement = database.sql("writable")

    async def unit(connection: Connection) -> bool:
        (row,) = await connection.fetch(statement)
        return bool(row["writable"])

    return await database.run(unit, timeout)


class Observer:
    """Looks for whoever asks, once for all who ask within `kept` seconds."""

    def __init__(self, database: Database, *, kept: float = MAX_AGE, deadline: float = DEADLINE) -> None:
        self._database = database
        self._kept = kept
        self._deadline = deadline
        self._looking = trio.Lock()
        self._seen = Sight()
        self._until = float("-inf")

    async def look(self) -> Sight:
        """Return what was seen lately."""
        async with self._looking:
            if trio.current_time() >= self._until:
                self._seen = await self._look()
                self._until = trio.current_time() + self._kept
            return self._seen

    async def _look(self) -> Sight:
        sight = Sight()
        # Waiting for a connection comes on top of the deadline of the statement.
        with trio.move_on_after(self._deadline * 1.5):
            try:
                sight = Sight(True, await writable(self._database, self._deadline))
                sight = replace(sight, queue=await observe(self._database, self._deadline))
            except (DatabaseUnavailable, RetryTransaction) as error:
                logger.debug("nothing can be seen of the queue: %s", error)
            except PostgresError:
                logger.exception("the queue cannot be looked at; report this")
        return sight
