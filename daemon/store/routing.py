"""Routing: rounds that make deliveries of the events that wait in the inbox.

A round is one statement: it opens some shards of the inbox, makes the deliveries that their first events owe,
and claims what it can of those (`next_round`). Where events came through SQL that statement gives them back
instead, for their bodies must be written first: the caller makes these, and a second statement routes with
them (`write_round`). What fails costs only the filter at fault, which is passed over from then on, or the
shard at fault, which waits for a while.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import DeadlockDetectedError, PostgresError, Record, SerializationError

from daemon.store.database import FAILURES, Connection, Database
from daemon.store.filter_faults import Ahead, block_failing_filters
from daemon.store.queue import ClaimRequest

logger = logging.getLogger("hookd.store")

HOLD = timedelta(seconds=1)
"""How long no other router takes a shard while its events' bodies are made."""
DEFER = timedelta(seconds=5)
"""How long a shard waits that could not be routed."""
ROUTE_SHARDS = 8
"""Shards in one routing transaction, so that few events in many shards are not one each."""
ROUND_TIME = 3.0
"""Seconds after which a round is broken off, to see whether a filter is at fault. If not, it has longer."""
ROUTE_WIDTH, READY_WIDTH = 4, 10
"""Columns that tell of the round, before those of what was claimed."""
RETRIED = (SerializationError, DeadlockDetectedError)
NO_CLAIM = ClaimRequest((UUID(int=0), UUID(int=0)), 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class RoundRequest:
    """What a round is to do.

    `bulk`: serve the shards with a burst or a wide fan-out in front, else those without. It looks at so many
    `events` and makes so many `deliveries` at most: a wider fan-out goes in slices. `claim`: what it may
    lease of what it routed, in the same transaction, unless there was more than it could take.
    """

    bulk: bool
    events: int
    deliveries: int
    claim: ClaimRequest


class RawEvent(NamedTuple):
    """An event that came through SQL, whose body is still to be made of its type and its data's JSON text."""

    shard: int
    event_id: UUID
    org_id: UUID
    type: str
    data: str


class Body(NamedTuple):
    """The canonical body of an event from SQL, or the reason why there can be none."""

    event: RawEvent
    text: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """Shards that wait for the bodies of their first events; give it to `write_round` with those.

    `in_doubt`: as in `Round`. `timeout`: seconds that the statement may take, if it is bound.
    """

    request: RoundRequest
    shards: tuple[int, ...]
    events: tuple[RawEvent, ...]
    in_doubt: bool = False
    timeout: float | None = ROUND_TIME


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of routing did: how many events it looked at, and of how many transactions they were.

    `cut`: there was more than it could take. `hosts`: those at which deliveries are pending for its events.
    `claimed`: what was leased with it, for `read_claim`, None if nothing was tried. `in_doubt`: a claim may
    have been committed whose answer was lost. `more`: there may be events left.
    """

    events: int = 0
    transactions: int = 0
    cut: bool = False
    hosts: tuple[int, ...] = ()
    claimed: list[tuple[Any, ...]] | None = None
    in_doubt: bool = False
    more: bool = True


async def next_round(database: Database, connection: Connection, request: RoundRequest) -> Round | Opened:
    """Route the shards that have waited longest, or open them. `Round(more=False)`: nothing waits.

    Errors: `PostgresError`, `TimeoutError`; if it asked for a claim, that may have been committed.
    """
    try:
        rows = await connection.fetch(
            database.sql("route_ready"),
            request.events,
            ROUTE_SHARDS,
            request.deliveries,
            HOLD,
            request.bulk,
            *request.claim.arguments,
            timeout=ROUND_TIME,
        )
    except RETRIED:
        raise
    except (PostgresError, TimeoutError) as error:
        return await _open_after(error, database, connection, request)
    if not rows:
        return Round(more=False)
    if rows[0]["events"] is not None:
        return _round(rows, READY_WIDTH, request.claim, more=rows[0]["more"])
    return _opened(request, [row[ROUTE_WIDTH + 1 : READY_WIDTH] for row in rows])


async def write_round(
    database: Database, connection: Connection, opened: Opened, bodies: Sequence[Body]
) -> Round:
    """Route shards that were opened, with the `bodies` of their events.

    Errors: `PostgresError` and `TimeoutError` if no shard could be routed, and `RETRIED` if a subscription
    moved meanwhile; a claim that was asked for may have been committed.
    """
    try:
        return await _write(database, connection, opened, bodies)
    except RETRIED:
        await connection.execute(database.sql("defer_shards"), opened.shards, timedelta())
        raise
    except (PostgresError, TimeoutError) as error:
        failure = error
    request = opened.request
    again = replace(
        opened,
        request=replace(request, claim=NO_CLAIM),
        in_doubt=opened.in_doubt or _in_doubt(failure, request.claim),
    )
    ahead = Ahead(request.bulk, request.events, request.deliveries, opened.shards)
    if await block_failing_filters(database, connection, ahead):
        return await write_round(database, connection, again, bodies)
    if len(opened.shards) > 1 or request.claim.slots:
        return await _write_each(database, connection, again, bodies)
    logger.error("a shard of the inbox cannot be routed and waits; report this: %r", failure)
    with suppress(*FAILURES, TimeoutError):
        await connection.execute(database.sql("defer_shards"), opened.shards, DEFER)
    raise failure


async def make_plans(database: Database, connection: Connection) -> None:
    """Route nothing of no shard: Postgres makes its plans now, and not when a burst or a fan-out comes."""
    nothing = Opened(RoundRequest(True, 1, 1, NO_CLAIM), (), (), timeout=None)
    await _write(database, connection, nothing, [])


async def _open_after(
    error: Exception, database: Database, connection: Connection, request: RoundRequest
) -> Round | Opened:
    """Go on after a round that failed: without the filters at fault, or step by step and without a claim.

    Step by step it fails again, and then `write_round` finds out which shard waits.
    """
    in_doubt = _in_doubt(error, request.claim)
    ahead = Ahead(request.bulk, request.events, request.deliveries)
    if await block_failing_filters(database, connection, ahead):
        return Round(in_doubt=in_doubt)
    rows = await connection.fetch(database.sql("open_shards"), request.events, ROUTE_SHARDS, request.bulk)
    if not rows:
        return Round(in_doubt=in_doubt, more=False)
    opened = _opened(replace(request, claim=NO_CLAIM), [tuple(row) for row in rows])
    return replace(opened, in_doubt=in_doubt, timeout=None)


async def _write(database: Database, connection: Connection, opened: Opened, bodies: Sequence[Body]) -> Round:
    request = opened.request
    rows = await connection.fetch(
        database.sql("route"),
        opened.shards,
        request.events,
        request.deliveries,
        [one.event.event_id for one in bodies],
        [one.event.org_id for one in bodies],
        [one.text for one in bodies],
        [one.problem for one in bodies],
        *request.claim.arguments,
        timeout=opened.timeout,
    )
    return replace(_round(rows, ROUTE_WIDTH, request.claim), in_doubt=opened.in_doubt)


async def _write_each(
    database: Database, connection: Connection, opened: Opened, bodies: Sequence[Body]
) -> Round:
    """Route one by one, so that only the shard at fault waits."""
    done = Round(in_doubt=opened.in_doubt)
    failure: Exception | None = None
    for shard in opened.shards:
        of_shard = [one for one in bodies if one.event.shard == shard]
        try:
            each = await write_round(
                database, connection, replace(opened, shards=(shard,), timeout=None), of_shard
            )
        except RETRIED:
            raise
        except (PostgresError, TimeoutError) as error:
            failure = error
        else:
            done = replace(
                done,
                events=done.events + each.events,
                transactions=done.transactions + each.transactions,
                cut=done.cut or each.cut,
                hosts=done.hosts + each.hosts,
            )
    if failure is not None and not done.events:
        raise failure
    return done


def _opened(request: RoundRequest, rows: Sequence[tuple[Any, ...]]) -> Opened:
    """Read the rows of `open_shards`: one an event, or one of a shard without its columns."""
    shards = tuple(dict.fromkeys(row[0] for row in rows))
    return Opened(request, shards, tuple(RawEvent(*row) for row in rows if row[1] is not None))


def _round(rows: Sequence[Record], width: int, claim: ClaimRequest, *, more: bool = True) -> Round:
    """Read what a statement says of the round, and behind the first `width` columns of what was claimed."""
    events, transactions, cut, hosts = rows[0][:ROUTE_WIDTH]
    claimed = [row[width:] for row in rows] if claim.slots and hosts and not cut else None
    return Round(events, transactions, cut, tuple(hosts or ()), claimed, more=more)


def _in_doubt(error: Exception, claim: ClaimRequest) -> bool:
    """Return whether what was asked for may have been committed nevertheless."""
    return claim.slots > 0 and not isinstance(error, PostgresError)
