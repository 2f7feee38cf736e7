"""Routing as a unit of work: rounds that make deliveries of the events in the inbox."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import DeadlockDetectedError, PostgresError, Record, SerializationError

from daemon.store.database import FAILURES, Connection, Database
from daemon.store.filter_faults import block_failing_filters
from daemon.store.queue import Asked
from daemon.store.turn import TakeTurn

logger = logging.getLogger("hookd.store")

HOLD = timedelta(seconds=1)
"""How long no other router takes a shard while its events' bodies are written."""
DEFER = timedelta(seconds=5)
"""How long a shard waits that could not be routed."""
ROUTE_SHARDS = 8
"""Shards in one routing transaction, so that few events in many shards are not one each."""
ROUND_TIME = 3.0
"""Seconds after which a round is broken off, to see whether a filter is at fault. If not, it has longer."""
ROUTE_WIDTH, READY_WIDTH = 5, 11
"""Columns that tell of the round, before those of what was claimed."""
RETRIED = (SerializationError, DeadlockDetectedError)
NO_CLAIM = Asked((UUID(int=0), UUID(int=0)), 0, 0, 0.0)


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

    `transactions`: of so many; `hosts`: those at which deliveries are owed for them; `slices`: some event has
    slices left; `claimed`: what was claimed with it, for `claim_of`, None if nothing was tried; `unheard`: a
    claim may have been committed whose answer was lost.
    """

    events: int
    transactions: int
    cut: bool
    hosts: tuple[int, ...] = ()
    slices: bool = False
    seconds: float = 0.0
    claimed: list[tuple[Any, ...]] | None = None
    unheard: bool = False


Canonicalise = Callable[[UUID, str, str], Awaitable[tuple[str | None, str | None]]]
"""From id, type and JSON text of an event to its canonical body, or None and the reason why there is none."""


async def route(
    database: Database,
    canonicalise: Canonicalise,
    *,
    events: Callable[[], int],
    deliveries: int,
    crowds: bool,
    turn: TakeTurn,
    asking: Callable[[], AbstractContextManager[Asked]],
    routed: Callable[[Connection, Round, Asked], Awaitable[None]],
    go_on: Callable[[bool], Awaitable[bool]],
) -> None:
    """Route what is in the inbox, round by round, until `go_on` says no.

    Each round is a transaction of its own, of up to `ROUTE_SHARDS` shards, that looks at as many events as
    `events` says and makes `deliveries` at most: a wider fan-out goes in slices. `crowds`: of the shards with
    a burst or a wide fan-out in front, else of those without. Each round waits for its `turn`, and `asking`
    says what may be claimed in the same transaction, of a round that was not cut. `routed` hears of each
    round at once, and goes on with the connection. `go_on` is asked after each look with whether there may be
    more, and waits.

    Errors: `RetryTransaction` where a subscription moved meanwhile, `DatabaseUnavailable`.
    """
    route_ready, open_shards = database.sql("route_ready"), database.sql("open_shards")

    async def blocks_filters(connection: Connection, shards: Sequence[int] | None) -> int:
        return await block_failing_filters(
            connection, database, shards, crowds=crowds, events=events(), deliveries=deliveries
        )

    async def write(
        connection: Connection,
        shards: Sequence[int],
        bodies: Sequence[_Body],
        asked: Asked,
        timeout: float | None = None,
    ) -> Round:
        try:
            rows = await connection.fetch(
                database.sql("route"),
                shards,
                events(),
                deliveries,
                [one.event_id for one in bodies],
                [one.org_id for one in bodies],
                [one.body for one in bodies],
                [one.problem for one in bodies],
                *asked.arguments,
                timeout=timeout,
            )
        except RETRIED:
            await connection.execute(database.sql("defer_shards"), shards, timedelta())
            raise
        except (PostgresError, TimeoutError) as error:
            if await blocks_filters(connection, shards):
                done = await write(connection, shards, bodies, NO_CLAIM, timeout)
                return replace(done, unheard=done.unheard or _unheard(error, asked))
            if len(shards) > 1 or asked.room:
                done = await write_each(connection, shards, bodies)
                return replace(done, unheard=_unheard(error, asked))
            logger.error("a shard of the inbox cannot be routed and waits; report this: %r", error)
            with suppress(*FAILURES, TimeoutError):
                await connection.execute(database.sql("defer_shards"), shards, DEFER)
            raise
        return _round(rows, ROUTE_WIDTH, asked)

    async def write_each(connection: Connection, shards: Sequence[int], bodies: Sequence[_Body]) -> Round:
        """Route one by one, and claim nothing, so that only the shard at fault waits."""
        done = Round(0, 0, False)
        failure: Exception | None = None
        for shard in shards:
            try:
                each = await write(
                    connection, [shard], [one for one in bodies if one.shard == shard], NO_CLAIM
                )
                done = Round(
                    done.events + each.events,
                    done.transactions + each.transactions,
                    done.cut or each.cut,
                    done.hosts + each.hosts,
                    each.slices,
                )
            except RETRIED:
                raise
            except (PostgresError, TimeoutError) as error:
                failure = error
        if failure is not None and not done.events:
            raise failure
        return done

    async def next_round(connection: Connection, asked: Asked) -> tuple[Round | None, bool]:
        """Route some shards, None if there are none; return also whether there may be more."""
        unheard = False
        timeout: float | None = ROUND_TIME
        try:
            rows = await connection.fetch(
                route_ready,
                events(),
                ROUTE_SHARDS,
                deliveries,
                HOLD,
                crowds,
                *asked.arguments,
                timeout=timeout,
            )
            if rows and rows[0]["events"] is not None:
                return _round(rows, READY_WIDTH, asked), rows[0]["more"]
            opened = [row[6:READY_WIDTH] for row in rows]
        except RETRIED:
            raise
        except (PostgresError, TimeoutError) as error:
            unheard, asked, timeout = _unheard(error, asked), NO_CLAIM, None
            if await blocks_filters(connection, None):
                return Round(0, 0, False, unheard=unheard), True
            # Step by step it fails again, and then it is found out which shard waits.
            opened = [
                tuple(row) for row in await connection.fetch(open_shards, events(), ROUTE_SHARDS, crowds)
            ]
        if not opened:
            return Round(0, 0, False, unheard=True) if unheard else None, False
        bodies = [
            _Body(shard, event_id, org_id, *(await canonicalise(event_id, event_type, text)))
            for shard, event_id, org_id, event_type, text in opened
            if event_id is not None
        ]
        done = await write(connection, list(dict.fromkeys(one[0] for one in opened)), bodies, asked, timeout)
        return replace(done, unheard=done.unheard or unheard), True

    async def unit(connection: Connection) -> None:
        # Nothing of no shard: Postgres makes its plans now, and not when the first burst or fan-out comes.
        await connection.fetch(database.sql("route"), [], 1, 1, [], [], [], [], *NO_CLAIM.arguments)
        more = True
        while await go_on(more):
            async with turn():
                began = time.monotonic()
                with asking() as asked:
                    done, more = await next_round(connection, asked)
                    if done is not None:
                        await routed(connection, replace(done, seconds=time.monotonic() - began), asked)

    await database.run(unit)


def _round(rows: Sequence[Record], width: int, asked: Asked) -> Round:
    """Read what a statement says of the round, and behind the first `width` columns of what was claimed."""
    events, transactions, cut, hosts, slices = rows[0][:5]
    claimed = [row[width:] for row in rows] if asked.room and hosts and not cut else None
    return Round(events, transactions, cut, tuple(hosts or ()), slices, claimed=claimed)


def _unheard(error: Exception, asked: Asked) -> bool:
    """Tell whether what was asked for may have been committed nevertheless."""
    return asked.room > 0 and not isinstance(error, PostgresError)
