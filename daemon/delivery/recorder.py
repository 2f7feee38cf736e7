"""Recording: results are written in batches, each as large as what came while the one before was written."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.attempt_metrics import count_attempts, count_ends
from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.circuit_logging import CircuitLog
from daemon.delivery.leases import Leases
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.store.database import Connection, Database, persistently
from daemon.store.results import Recorded, Result, record

logger = logging.getLogger("hookd.recorder")

GATHER = 0.010
"""Seconds of rest after a batch, so that few results are not a transaction each; a first one never waits."""
MAX_RESULTS = 1000
"""Results in one transaction."""
MAX_EXCERPTS = 4_000_000
"""Characters of excerpts in one transaction."""


@dataclass
class Recorder:
    """Records by a connection of its own.

    A result that cannot be written waits for Postgres, and with it, as the channel of results is bounded, the
    senders and the claimer. Results of what was claimed as soon as it was routed are written apart; the
    others are bulk work. `disable_after` gives the seconds of nothing but failures after which a subscription
    is disabled; `wake_claimer` is called after a batch where a claim may find something at its hosts.
    """

    database: Database
    lock: BulkLock
    leases: Leases
    disable_after: Callable[[], float]
    wake_claimer: Callable[[], None]
    metrics: Metrics
    progress: Progress
    _circuits: CircuitLog = field(default_factory=CircuitLog)

    async def run(self, results: trio.MemoryReceiveChannel[Result]) -> None:
        """Record until every sender has closed its end of the channel and all is written."""
        async with results, trio.open_nursery() as nursery:
            # Nothing, so that Postgres makes its plans and is seen to take writes before there are results.
            nursery.start_soon(self._write, [], [], True)
            async for batch in _batches(results):
                count_attempts(self.metrics, batch)
                single, bulk = self.leases.apart(batch)
                if single:
                    await self._record(single, single=True)
                if bulk:
                    await self._record(bulk, single=False)
                await trio.sleep(GATHER)
            nursery.cancel_scope.cancel()

    async def _record(self, batch: list[Result], *, single: bool) -> None:
        began = trio.current_time()
        written = await self._write(batch, self.leases.settle(batch), single)
        self.metrics.record_seconds.observe(trio.current_time() - began)
        count_ends(self.metrics, batch, written.counted)
        self.metrics.throttled.add(("circuit",), self._circuits.note(batch, written.circuits))
        if not all(written.counted):
            late = written.counted.count(False)
            logger.warning(
                "%d results came after their lease had ended and do not count; such deliveries are sent"
                " again. If this is frequent, Postgres is too slow for the load",
                late,
            )
        if written.pending:
            self.wake_claimer()

    async def _write(self, batch: Sequence[Result], done: Sequence[UUID], single: bool) -> Recorded:
        """Write a batch; where Postgres refuses it, its results one by one, and then without excerpt.

        What cannot be written even so is left to the end of its lease, and is sent again.
        """

        async def unit(connection: Connection) -> Recorded:
            piece: AbstractAsyncContextManager[None] = nullcontext() if single else self.lock.piece()
            async with piece:
                return await record(self.database, connection, batch, done, self.disable_after())

        self.progress.begin()
        try:
            recorded = await persistently(self.database, unit, on_unavailable=self.progress.failed)
            self.progress.done()
            return recorded
        except PostgresError:
            self.progress.rest()
            logger.exception("%d results could not be recorded together; report this", len(batch))
        # What Postgres refuses, it refuses for one of them: the others must not be sent again for that.
        if len(batch) == 1:
            if batch[0].excerpt is None:
                self.leases.keep(batch[0].token)
                return Recorded([False], [], pending=True)
            bare = replace(batch[0], excerpt=None, note=None, headers=None)
            return await self._write([bare], done, single)
        singly = [await self._write([one], [], single) for one in batch]
        counted = [counted for one in singly for counted in one.counted]
        return Recorded(counted, [], any(one.pending for one in singly))


async def _batches(results: trio.MemoryReceiveChannel[Result]) -> AsyncIterator[list[Result]]:
    """Give what has come, as much of it as fits one transaction."""
    async for first in results:
        batch = [first]
        size = len(first.excerpt or "")
        while len(batch) < MAX_RESULTS and size < MAX_EXCERPTS:
            try:
                batch.append(results.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            size += len(batch[-1].excerpt or "")
        yield batch
