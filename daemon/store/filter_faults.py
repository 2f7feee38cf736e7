"""Whose filter made a round of routing fail or last: it is found, and from then on routing passes over it.

What hookd writes as a filter costs little and raises nothing. This is for what stands in the table without
having been checked, and for events so large that a filter takes long after all.
"""

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from asyncpg import PostgresError, QueryCanceledError

from daemon.store.database import Connection, Database

logger = logging.getLogger("hookd.router")

FILTER_TIME = 1.5
"""Seconds that one filter may take for one event."""
BLOCKED_FOR = timedelta(minutes=1)
"""How long routing passes over a filter that hookd wrote and that took longer."""
SEARCH_TIME = 15.0
"""Seconds after which no more filters are tried at once: the round is repeated, and the search if need be."""
SMALL_EVENT = 8192
"""Bytes of an event that no filter that hookd wrote takes a tenth of a second for."""
_SLOW = f"took longer than {FILTER_TIME:g} s"
_NOT_ITS_FAULT = ("08", "25", "40", "531", "533", "55", "57P")
"""SQLSTATE of errors that come whatever the filter is: the connection, locks, resources, a shutdown."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """Which rounds are looked at: as in `RoundRequest`; of all its shards, or of these alone."""

    bulk: bool
    events: int
    deliveries: int
    shards: tuple[int, ...] | None = None


async def block_failing_filters(database: Database, connection: Connection, rounds: Ahead) -> int:
    """Try the filters that the next rounds meet, one by one; return how many failed and are passed over now.

    To be called between transactions.
    """
    ahead = await connection.fetch(
        database.sql("filters_ahead"), rounds.shards, rounds.bulk, rounds.events, rounds.deliveries
    )
    blocked: set[UUID] = set()
    until = time.monotonic() + SEARCH_TIME
    for org_id, event_id, subscription_id in dict.fromkeys(tuple(row) for row in ahead):
        if time.monotonic() > until:
            break
        if subscription_id in blocked:
            continue
        failure = await _failure(connection, database, org_id, event_id, subscription_id)
        if failure is None:
            continue
        problem = f"the filter in use is not as hookd wrote it, and {failure}: set it anew"
        for_good = await connection.fetchval(
            database.sql("block_filter"), org_id, subscription_id, BLOCKED_FOR, problem
        )
        blocked.add(subscription_id)
        logger.warning(
            "the filter of the subscription %s %s for the event %s: what it wants ends in its history as"
            " filter_failed %s",
            subscription_id,
            failure,
            event_id,
            "until its owner sets another" if for_good else f"for {BLOCKED_FOR.seconds} s",
        )
    return len(blocked)


async def _failure(
    connection: Connection, database: Database, org_id: UUID, event_id: UUID, subscription_id: UUID
) -> str | None:
    """Return what a filter does wrong with an event, if anything.

    One that takes long does so twice, and while the event is read in time: else all of Postgres is slow. It
    is, too, where a filter that hookd wrote takes long for a small event.
    """
    filtering = (database.sql("try_filter"), org_id, event_id, subscription_id)
    failure = await _tried(connection, database, *filtering)
    if failure == _SLOW:
        small = (org_id, event_id, subscription_id, SMALL_EVENT)
        if await connection.fetchval(database.sql("is_cheap_filter"), *small):
            return None
        if await _tried(connection, database, database.sql("try_event"), org_id, event_id) is not None:
            return None
        failure = await _tried(connection, database, *filtering)
    return failure


async def _tried(
    connection: Connection, database: Database, statement: str, *arguments: object
) -> str | None:
    """Return how a statement failed, if it did; it has no more than `FILTER_TIME`."""
    try:
        async with connection.transaction():
            await connection.execute(database.sql("filter_time"), f"{FILTER_TIME * 1000:.0f}ms")
            await connection.execute(statement, *arguments)
    except QueryCanceledError:
        return _SLOW
    except PostgresError as error:
        if (error.sqlstate or "").startswith(_NOT_ITS_FAULT):
            raise
        return f"failed ({error})"
    return None
