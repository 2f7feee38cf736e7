"""Routing: takes events from the inbox and makes the deliveries they owe, as fast as they come."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.arrival import MANY, Arrival
from daemon.delivery.claims import Claims
from daemon.delivery.round_size import RoundSize
from daemon.delivery.work_pieces import WorkPieces
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.schemas import Schemas
from daemon.signing.canonical import Unrepresentable, event_body, parse
from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.precedence import Precedence
from daemon.store.queue import Asked
from daemon.store.routing import Round, route
from daemon.store.turn import TakeTurn

logger = logging.getLogger("hookd.router")

GATHER = 0.005
"""Seconds for which a router at work lets events gather."""
QUICK, LONGEST_WAIT = 0.005, 30.0
"""Seconds after which it looks by itself: awake; else, when nothing wakes it before."""
BREATHER, SLICE_BREATHER = 0.005, 0.010
"""Seconds for which a router of crowds rests while others publish: after a round of a burst, and after a
slice of a fan-out, which keeps its processor busy for longer."""
RING_AT_LEAST = 0.1
"""Seconds after which a router of crowds at work wakes the other one, whatever it does."""
KEPT = 600.0
"""Seconds after which the connection is given back, which replaces it now and then."""
OUTAGE_PAUSE = 0.5
FAULT_PAUSE = 0.2
FEW_EVENTS, FEW_DELIVERIES, MANY_DELIVERIES = 40, 150, 400
"""In one routing transaction: few where others wait for its end, many of a crowd."""
TURNS = 2
"""Rounds in a crowd's shard of which one is for those who pass it."""


async def serve_router(
    database: Database,
    *,
    crowds: bool,
    turn: TakeTurn,
    precedence: Precedence,
    hurry: AsyncioAutoResetEvent,
    wake_other: Callable[[], None],
    size: RoundSize,
    bell: AsyncioAutoResetEvent,
    awake: Callable[[], bool],
    routed: Callable[[int], None],
    claims: Claims,
    stopping: trio.Event,
    max_depth: Callable[[], int],
    max_values: Callable[[], int],
    schemas: Callable[[], Schemas],
    metrics: Metrics,
    progress: Progress,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Route until `stopping`, in long units of work on a connection of its own; ring `bell` for it.

    `crowds`: serve the shards with a burst or a wide fan-out in front, in rounds of `size` that wait for
    their `turn` while others publish. Else those without, in small rounds. A crowd begins where a round was
    cut, and ends where none is any more: then `wake_other` lets the router for the other kind look. That one
    rings `hurry` when it was rung for and finds nothing: it may be for somebody in a crowd's shard, who is
    served by small rounds out of turn. What it is rung for has `precedence` until it was looked for, unless
    so many publish that nothing rings. `awake` tells whether nothing rings. `routed` hears of how many
    transactions the events of each round were, and `claims` take what was claimed with it.

    An event from SQL is held to `max_depth`, `max_values` and to the schema of its type here: what publish()
    cannot check. A body that takes long to make is made in pieces, between which others have the loop.
    """

    async def canonicalise(event_id: UUID, event_type: str, text: str) -> tuple[str | None, str | None]:
        try:
            began = perf_counter()
            data = parse(text, max_depth=max_depth(), max_values=max_values())
            await pieces.end(began)
            began = perf_counter()
            body = event_body(event_id, event_type, data)
            await pieces.end(began)
        except Unrepresentable as error:
            return None, refused(event_id, error.reason)
        violation = schemas().violation(event_type, data, len(body))
        if violation is not None:
            return None, refused(event_id, f"/data{violation.pointer} {violation.advice}")
        return body, None

    def refused(event_id: UUID, reason: str) -> str:
        repeats = {"repeats_as": "events that cannot be delivered"}
        logger.warning("event %s cannot be delivered: %s", event_id, reason, extra=repeats)
        metrics.unrepresentable.add()
        return reason

    pieces = WorkPieces()
    arrival = Arrival()
    gather = idled = worked = hurried = told = slices = False
    small_rounds = 0
    since = other_woken = trio.current_time()

    async def heard(connection: Connection, done: Round, asked: Asked) -> None:
        nonlocal gather, other_woken, worked, told, slices, small_rounds
        progress.done()
        now = trio.current_time()
        gather, worked, told, slices = not done.cut, True, False, done.slices
        if not done.cut:
            small_rounds = 0
        if done.cut != crowds or (crowds and now > other_woken + RING_AT_LEAST):
            other_woken = now
            wake_other()
        # A crowd is often one transaction in many rounds, and its last one goes on.
        routed(max(0, done.transactions - 1) if crowds and done.cut else done.transactions)
        size.note(done.events, done.seconds, now, cut=done.cut)
        await claims.follow(connection, done, asked)
        if crowds and done.cut and arrival.look_due(now) and size.others(now):
            seen = await connection.fetch(database.sql("newest_of_crowds"), MANY)
            arrival.note((tuple(row) for row in seen), now)

    async def go_on(more: bool) -> bool:
        nonlocal gather, idled, worked, hurried, told, small_rounds
        progress.rest() if more else progress.done()
        idled = not more
        if told:
            hurry.set()  # there was nothing for this router
            told = False
        if not crowds:
            precedence.end()
        if crowds and await hurry.wait(rest() if more else 0.0):
            small_rounds = TURNS
        hurried = small_rounds > 0
        small_rounds = max(0, small_rounds - 1)
        if not more:
            if crowds and worked:
                worked = False
                wake_other()
            if gather:
                await asyncio.sleep(GATHER)
                gather = False
            news = await bell.wait(QUICK if awake() and not crowds else LONGEST_WAIT)
            told = news and not crowds
            if told and not awake():
                precedence.give()
        if trio.current_time() >= since + KEPT or stopping.is_set():
            return False
        progress.begin()
        return True

    def rest() -> float:
        now = trio.current_time()
        if small_rounds or awake() or not size.others(now):
            return 0.0
        return SLICE_BREATHER if slices else max(BREATHER, arrival.rest(now))

    def events() -> int:
        return size.events if crowds and not hurried else FEW_EVENTS

    @asynccontextmanager
    async def in_turn() -> AsyncIterator[None]:
        nonlocal hurried, small_rounds
        if not crowds or hurried or not (precedence.given or size.others(trio.current_time())):
            yield
            return
        async with turn():
            if await hurry.wait(0.0):  # it rang meanwhile
                hurried, small_rounds = True, TURNS - 1
            yield

    routing = partial(
        route,
        database,
        canonicalise,
        events=events,
        deliveries=MANY_DELIVERIES if crowds else FEW_DELIVERIES,
        crowds=crowds,
        turn=in_turn,
        asking=partial(claims.asking, crowds),
        routed=heard,
        go_on=go_on,
    )
    task_status.started()
    while not stopping.is_set():
        since = trio.current_time()
        progress.begin()
        try:
            await routing()
            continue
        except RetryTransaction:
            claims.claimable()  # for what other shards were owed before that
            await trio.sleep(GATHER * random.random())
        except DatabaseUnavailable as error:
            if idled:
                idled = False  # the connection was lost while nobody used it: try another one at once
                continue
            progress.failed(error)
            with trio.move_on_after(OUTAGE_PAUSE * random.uniform(0.5, 1.5)):
                await stopping.wait()
            claims.claimable()  # it gives back what a claim may have leased, and not before that has ended
        except PostgresError as error:
            progress.failed(repr(error))
            logger.exception("routing failed; the other shards of the inbox go on")
            claims.claimable()
            await trio.sleep(FAULT_PAUSE)
        wake_other()  # some shard may have been routed before that, and be the other's now
