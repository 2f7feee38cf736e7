"""Recording: results are written in batches, each as large as what came while the one before was written."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import UUID

import trio

from daemon.store.database import Database, persistently
from daemon.store.queue import Result, recording

logger = logging.getLogger("hookd.recorder")

MOST = 1000
"""Results in one transaction."""


class Leases:
    """How many deliveries of each lease are still to be recorded, so that the last one drops the lease."""

    def __init__(self) -> None:
        self._left: Counter[UUID] = Counter()

    def add(self, token: UUID, deliveries: int) -> None:
        """Expect that many results of a new lease."""
        self._left[token] += deliveries

    def settle(self, results: Sequence[Result]) -> list[UUID]:
        """Count the results; return the leases of which nothing is left."""
        done = []
        for token, count in Counter(result.token for result in results).items():
            self._left[token] -= count
            if self._left[token] <= 0:
                del self._left[token]
                done.append(token)
        return done


async def serve_recorder(
    database: Database,
    results: trio.MemoryReceiveChannel[Result],
    *,
    leases: Leases,
    disable_after: Callable[[], float],
    recorded: Callable[[Sequence[Result]], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Record until every sender has closed its end of the channel and all is written.

    A result that cannot be written waits for Postgres, and with it, as the channel is bounded, the senders
    and the claimer. `recorded` is called after each batch: there may be room for a claim now.
    """
    task_status.started()
    async with results:
        async for first in results:
            batch = [first]
            while len(batch) < MOST:
                try:
                    batch.append(results.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            done = leases.settle(batch)
            counted = await persistently(
                database, recording(database, batch, done, disable_after()), name="recording"
            )
            if not all(counted):
                late = counted.count(False)
                logger.warning(
                    "%d results came after their lease had ended and do not count; such deliveries are sent"
                    " again. If this is frequent, Postgres is too slow for the load",
                    late,
                )
            recorded(batch)
