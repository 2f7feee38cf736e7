"""Routing as a unit of work: rounds that make deliveries of the events in the inbox."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from asyncpg import DeadlockDetectedError, PostgresError, Record, SerializationError

from daemon.store.database import FAILURES, Connection, Database

logger = logging.getLogger("hookd.store")

ROUTE_DELIVERIES = 600
"""Deliveries made in one routing transaction: a wider fan-out goes in slices."""
HOLD = timedelta(seconds=1)
"""How long no other router takes a shard while its events' bodies are written."""
DEFER = timedelta(seconds=5)
"""How long a shard waits that could not be routed."""
ROUTE_SHARDS = 8
"""Shards in one routing transaction, so that few events in many shards are not one each."""
ROUNDS = 8
"""Routing transactions in one hop."""
RETRIED = (SerializationError, DeadlockDetectedError)


class _Body(NamedTuple):
    """The canonical body of an event from SQL, or the reason why there is none."""

    shard: int
    event_id: UUID
    org_id: UUID
    body: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """A round of routing: how many events it looked at, in how many seconds; `cut`: there was more.

    `hosts`: those at which deliveries are owed for them; `slices`: some event has slices left.
    """

    events: int
    cut: bool
    hosts: tuple[int, ...] = ()
    slices: bool = False
    seconds: float = 0.0


Canonicalise = Callable[[UUID, str, str], tuple[str | None, str | None]]
"""From id, type and JSON text of an event to its canonical body, or None and the reason why there is none."""


async def route(
    database: Database,
    canonicalise: Canonicalise,
    events: Callable[[], int],
    routed: Callable[[Connection, Round], Awaitable[None]],
) -> int:
    """Route what is in the inbox, in up to `ROUNDS` rounds, and return how many events there were.

    Each round is a transaction of its own, of up to `ROUTE_SHARDS` shards, that looks at as many events as
    `events` says. `routed` hears of it at once, and goes on with the connection.

    Errors: `RetryTransaction` where a subscription moved meanwhile, `DatabaseUnavailable`.
    """
    route_ready, open_shards = database.sql("route_ready"), database.sql("open_shards")

    async def write(connection: Connection, shards: Sequence[int], bodies: Sequence[_Body]) -> Round:
        try:
            rows = await connection.fetch(
                database.sql("route"),
                shards,
                events(),
                ROUTE_DELIVERIES,
                [one.event_id for one in bodies],
                [one.org_id for one in bodies],
                [one.body for one in bodies],
                [one.problem for one in bodies],
            )
        except RETRIED:
            await connection.execute(database.sql("defer_shards"), shards, timedelta())
            raise
        except (PostgresError, TimeoutError) as error:
            if len(shards) > 1:
                return await write_each(connection, shards, bodies)
            logger.error("a shard of the inbox cannot be routed and waits; report this: %r", error)
            with suppress(*FAILURES, TimeoutError):
                await connection.execute(database.sql("defer_shards"), shards, DEFER)
            raise
        return _round(rows[0])

    async def write_each(connection: Connection, shards: Sequence[int], bodies: Sequence[_Body]) -> Round:
        """Route one by one, so that only the shard at fault waits."""
        done = Round(0, False)
        failure: Exception | None = None
        for shard in shards:
            try:
                one = await write(connection, [shard], [body for body in bodies if body.shard == shard])
                seen, cut, hosts = done.events + one.events, done.cut or one.cut, done.hosts + one.hosts
                done = Round(seen, cut, hosts, one.slices)
            except RETRIED:
                raise
            except (PostgresError, TimeoutError) as error:
                failure = error
        if failure is not None and not done.events:
            raise failure
        return done

    async def next_round(connection: Connection) -> tuple[Round | None, bool]:
        """Route some shards, None if there are none; return also whether there may be more."""
        try:
            rows = await connection.fetch(route_ready, events(), ROUTE_SHARDS, ROUTE_DELIVERIES, HOLD)
            if rows and rows[0]["events"] is not None:
                return _round(rows[0]), rows[0]["more"]
        except RETRIED:
            raise
        except (PostgresError, TimeoutError):
            # Step by step it fails again, and then it is found out which shard waits.
            rows = await connection.fetch(open_shards, events(), ROUTE_SHARDS)
        if not rows:
            return None, False
        bodies = [
            _Body(
                row["shard"],
                row["event_id"],
                row["org_id"],
                *canonicalise(row["event_id"], row["type"], row["data"]),
            )
            for row in rows
            if row["event_id"] is not None
        ]
        return await write(connection, list(dict.fromkeys(row["shard"] for row in rows)), bodies), True

    async def unit(connection: Connection) -> int:
        total = 0
        for _ in range(ROUNDS):
            began = time.monotonic()
            done, more = await next_round(connection)
            if done is None:
                break
            total += done.events
            await routed(connection, replace(done, seconds=time.monotonic() - began))
            if not more:
                break
        return total

    return await database.run(unit)


def _round(row: Record) -> Round:
    return Round(row["events"], row["cut"], tuple(row["hosts"] or ()), row["slices"])
