"""Routing: takes events from the inbox and makes the deliveries they owe, as fast as they come."""

import logging
import random
from collections.abc import Callable
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.claims import Claims
from daemon.delivery.doorbell import Doorbell
from daemon.delivery.round_size import RoundSize
from daemon.metrics import Metrics
from daemon.schemas import Schemas
from daemon.signing.canonical import Unrepresentable, event_body, parse
from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.routing import ROUNDS, Round, route

logger = logging.getLogger("hookd.router")

GATHER = 0.005
"""Seconds for which a router at work lets events gather."""
QUICK, LONGEST_WAIT = 0.005, 60.0
"""Seconds after which it looks by itself: awake; and else, when the pulse and hints wake it before."""
OUTAGE_PAUSE = 0.5
FAULT_PAUSE = 0.2


async def serve_router(
    database: Database,
    *,
    doorbell: Doorbell,
    routed: Callable[[int], None],
    claims: Claims,
    awake: Callable[[], bool],
    stopping: trio.Event,
    max_depth: Callable[[], int],
    schemas: Callable[[], Schemas],
    metrics: Metrics,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Route until `stopping`; ring `doorbell` after publishing. `routed` hears how many events each
    round had, and `claims` follow on the same connection; `awake` tells whether nothing wakes it.

    An event from SQL is held to `max_depth` and to the schema of its type here: what publish() cannot check.
    """

    def canonicalise(event_id: UUID, event_type: str, text: str) -> tuple[str | None, str | None]:
        try:
            data = parse(text, max_depth=max_depth())
            body = event_body(event_id, event_type, data)
        except Unrepresentable as error:
            return None, refused(event_id, error.reason)
        misfit = schemas().misfit(event_type, data, len(body))
        if misfit is not None:
            return None, refused(event_id, f"/data{misfit.pointer} {misfit.advice}")
        return body, None

    def refused(event_id: UUID, reason: str) -> str:
        logger.warning("event %s cannot be delivered: %s", event_id, reason)
        metrics.unrepresentable.add()
        return reason

    size = RoundSize()
    rounds, cut = 0, False

    async def heard(connection: Connection, done: Round) -> None:
        nonlocal rounds, cut
        rounds += 1
        cut = done.cut
        routed(done.events)
        size.note(done.events, done.seconds, trio.current_time(), cut=cut)
        await claims.follow(connection, done)

    task_status.started()
    while not stopping.is_set():
        rounds = 0
        try:
            await route(database, canonicalise, lambda: size.events, heard)
        except RetryTransaction:
            claims.claimable()  # for what other shards were owed before that
            await trio.sleep(GATHER * random.random())
            continue
        except DatabaseUnavailable as error:
            logger.debug("routing waits for Postgres: %s", error)
            await doorbell.wait(OUTAGE_PAUSE * random.uniform(0.5, 1.5))
            claims.claimable()  # it gives back what a claim may have leased, and not before that has ended
            continue
        except PostgresError:
            logger.exception("routing failed; the other shards of the inbox go on")
            claims.claimable()
            await trio.sleep(FAULT_PAUSE)
            continue
        if rounds and not cut:
            await trio.sleep(GATHER)
        if rounds < ROUNDS:  # it ended because it found none left
            await doorbell.wait(QUICK if awake() else LONGEST_WAIT)
