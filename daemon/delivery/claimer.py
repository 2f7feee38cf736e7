"""Claiming: leases as many due deliveries as the senders have room for and hands them over at once."""

import logging
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import trio
from asyncpg import PostgresError

from daemon.delivery.doorbell import Doorbell
from daemon.delivery.recorder import Leases
from daemon.delivery.senders import Senders
from daemon.delivery.targets import Targets
from daemon.metrics import Metrics
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.queue import Claim, Result, claim, leased

logger = logging.getLogger("hookd.claimer")

LEAST = 16
"""Deliveries that a claim must have room for while others wait, so that more than one host has a share."""
GATHER = 0.005
"""Seconds for which a busy claimer waits for more room, so that it claims in batches."""
LONGEST_WAIT = 30.0
"""Seconds after which it looks by itself; the pulse wakes it before."""
OUTAGE_PAUSE = 0.5
FAULT_PAUSE = 5.0


async def serve_claimer(
    database: Database,
    *,
    senders: Senders,
    targets: Targets,
    leases: Leases,
    results: trio.MemorySendChannel[Result],
    doorbell: Doorbell,
    routed: Doorbell,
    lease: Callable[[], float],
    metrics: Metrics,
    stopping: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Claim until `stopping`; `doorbell` rings when there may be work or room in the queue.

    `lease` gives the seconds for which a claimed delivery is ours: longer than a request and its recording
    take. A claim whose answer was lost may have been committed: what it leased goes back unsent.
    """
    task_status.started()
    lost: list[UUID] = []
    async with results:
        while not stopping.is_set():
            if not senders.room():
                await senders.freed.wait(LONGEST_WAIT)
            fresh = routed.answer()
            if not senders.hungry() and not fresh:
                fresh = await routed.wait(GATHER)
                if not fresh:
                    continue
            room = senders.room()
            if not senders.hungry() and room < LEAST:
                await trio.sleep(GATHER)
                continue
            if not room:
                continue
            tokens = (uuid4(), uuid4())
            try:
                while lost:
                    await _give_back(database, lost[-1], leases, results)
                    lost.pop()
                began = trio.current_time()
                if fresh:
                    senders.make_way()
                claimed = await claim(
                    database,
                    tokens,
                    room=room,
                    probe_room=senders.probe_room,
                    lease=lease(),
                    known=targets.known,
                    hand_over=partial(_hand_over, tokens[1], senders, targets, leases),
                )
                metrics.claim_seconds.observe(trio.current_time() - began)
            except RetryTransaction:
                await trio.sleep(GATHER * random.random())
                continue
            except DatabaseUnavailable as error:
                lost.extend(tokens)
                logger.debug("claiming waits for Postgres: %s", error)
                await doorbell.wait(OUTAGE_PAUSE * random.uniform(0.5, 1.5))
                continue
            except PostgresError:
                logger.exception("claiming failed and goes on after a pause; report this")
                await trio.sleep(FAULT_PAUSE)
                continue
            wait = LONGEST_WAIT if claimed.next_due is None else min(LONGEST_WAIT, claimed.next_due)
            if not claimed.deliveries:
                wait = max(wait, GATHER)  # what is due may be in another daemon's hands just now
            if wait:
                await doorbell.wait(wait)


def _hand_over(probe_token: UUID, senders: Senders, targets: Targets, leases: Leases, claimed: Claim) -> None:
    targets.learn(claimed.targets)
    for token, count in Counter(one.token for one in claimed.deliveries).items():
        leases.add(token, count)
    senders.start((one, one.token == probe_token) for one in claimed.deliveries)


async def _give_back(
    database: Database, token: UUID, leases: Leases, results: trio.MemorySendChannel[Result]
) -> None:
    held = await leased(database, token)
    leases.add(token, len(held))
    for one in held:
        await results.send(one.result("unsent"))
