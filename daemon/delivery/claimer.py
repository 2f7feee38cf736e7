"""Claiming: leases as many due deliveries as the senders have room for and hands them over at once."""

import logging
import math
import random
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.claims import Claims
from daemon.delivery.leases import Leases
from daemon.delivery.senders import Senders
from daemon.model import Outcome
from daemon.progress import Progress
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.results import Result, leased

logger = logging.getLogger("hookd.claimer")

GATHER = 0.005
"""Seconds for which a busy claimer waits for more room, so that it claims in batches."""
LONGEST_WAIT = 30.0
"""Seconds after which it looks by itself; the poller wakes it before."""
OUTAGE_PAUSE = 0.5
FAULT_PAUSE = 5.0


async def serve_claimer(
    database: Database,
    *,
    claims: Claims,
    senders: Senders,
    leases: Leases,
    results: trio.MemorySendChannel[Result],
    wake: AutoResetEvent,
    stopping: trio.Event,
    progress: Progress,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Claim until `stopping`; `wake` is set when there may be work or room in the queue."""
    task_status.started()
    async with results:
        while not stopping.is_set():
            if not senders.room():
                await senders.freed.wait(LONGEST_WAIT)
            if claims.gives_way() or not (senders.hungry() or claims.others_wait()):
                await trio.sleep(GATHER)
                continue
            if not senders.room():
                continue
            progress.begin()
            try:
                while claims.lost:
                    await _give_back(database, claims.lost[0], leases, results)
                    del claims.lost[0]  # the router may have lost more meanwhile
                claimed = await database.run(claims.claim)
                progress.done()
            except RetryTransaction:
                await trio.sleep(GATHER * random.random())
                continue
            except DatabaseUnavailable as error:
                progress.failed(error)
                await wake.wait(OUTAGE_PAUSE * random.uniform(0.5, 1.5))
                continue
            except PostgresError as error:
                progress.failed(repr(error))
                logger.exception("claiming failed and goes on after a pause; report this")
                await trio.sleep(FAULT_PAUSE)
                continue
            wait = LONGEST_WAIT if claimed.next_due is None else min(LONGEST_WAIT, claimed.next_due)
            if not claimed.deliveries:
                wait = max(wait, GATHER)  # what is due may be in another daemon's hands just now
            if wait:
                claims.next_look = trio.current_time() + wait
                await wake.wait(wait)
                claims.next_look = math.inf


async def _give_back(
    database: Database, token: UUID, leases: Leases, results: trio.MemorySendChannel[Result]
) -> None:
    held = await leased(database, token)
    if held:
        leases.add(token, len(held))
    for one in held:
        await results.send(one.result(Outcome.UNSENT))
