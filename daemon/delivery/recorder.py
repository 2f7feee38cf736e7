"""Recording: results are written in batches, each as large as what came while the one before was written."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.attempt_metrics import count_attempts, count_ends
from daemon.delivery.circuit_logging import CircuitLog
from daemon.delivery.leases import Leases
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.store.database import Database, persistently
from daemon.store.results import Recorded, Result, recording
from daemon.store.turn import TakeTurn

logger = logging.getLogger("hookd.recorder")

GATHER = 0.010
"""Seconds of rest after a batch, so that few results are not a transaction each; a first one never waits."""
MAX_BATCH = 1000
"""Results in one transaction."""
MAX_EXCERPTS = 4_000_000
"""Characters of excerpts in one transaction."""


class Recorder:
    """Writes results, and tells of them: counts, and circuits that open or close.

    `claimable` is set after a batch where a claim may find something at its hosts. All but lone results wait
    for their `turn`.
    """

    def __init__(
        self,
        database: Database,
        *,
        leases: Leases,
        turn: TakeTurn,
        disable_after: Callable[[], float],
        claimable: Callable[[], None],
        metrics: Metrics,
        progress: Progress,
    ) -> None:
        self._database = database
        self._leases = leases
        self._turn = turn
        self._disable_after = disable_after
        self._claimable = claimable
        self._metrics = metrics
        self._progress = progress
        self._circuits = CircuitLog()

    async def serve(
        self,
        results: trio.MemoryReceiveChannel[Result],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Record until every sender has closed its end of the channel and all is written.

        A result that cannot be written waits for Postgres, and with it, as the channel is bounded, the
        senders and the claimer.
        """
        task_status.started()
        async with results, trio.open_nursery() as nursery:
            # Postgres makes its plans, and is seen to take writes, before there are results.
            nursery.start_soon(self._write, [], [], nullcontext)
            async for first in results:
                batch = _gathered(first, results)
                count_attempts(self._metrics, batch)
                lone, rest = self._leases.apart(batch)
                if lone:
                    await self._record(lone, nullcontext)
                if rest:
                    await self._record(rest, self._turn)
                await trio.sleep(GATHER)
            nursery.cancel_scope.cancel()

    async def _record(self, batch: Sequence[Result], turn: TakeTurn) -> None:
        began = trio.current_time()
        written = await self._write(batch, self._leases.settle(batch), turn)
        self._metrics.record_seconds.observe(trio.current_time() - began)
        count_ends(self._metrics, batch, written.counted)
        self._metrics.throttled.add(("circuit",), self._circuits.note(batch, written.circuits))
        if late := written.counted.count(False):
            logger.warning(
                "%d results came after their lease had ended and do not count; such deliveries are sent"
                " again. If this is frequent, Postgres is too slow for the load",
                late,
            )
        if written.owed:
            self._claimable()

    async def _write(self, batch: Sequence[Result], done: Sequence[UUID], turn: TakeTurn) -> Recorded:
        """Write a batch; where Postgres refuses it, its results one by one, and then without excerpt.

        What cannot be written even so is left to the end of its lease, and is sent again.
        """
        self._progress.begin()
        try:
            unit = recording(self._database, batch, done, self._disable_after(), turn)
            recorded = await persistently(self._database, unit, on_unavailable=self._progress.failed)
            self._progress.done()
            return recorded
        except PostgresError:
            self._progress.rest()
            logger.exception("%d results could not be recorded together; report this", len(batch))
        if len(batch) == 1:
            if batch[0].excerpt is None:
                self._leases.keep(batch[0].token)
                return Recorded([False], [], owed=True)
            return await self._write([replace(batch[0], excerpt=None, note=None, headers=None)], done, turn)
        singly = [await self._write([one], [], turn) for one in batch]
        counted = [counted for one in singly for counted in one.counted]
        return Recorded(counted, [], any(one.owed for one in singly))


def _gathered(first: Result, results: trio.MemoryReceiveChannel[Result]) -> list[Result]:
    """Return a batch: `first` and what came while the batch before was written, as far as it fits."""
    batch = [first]
    size = len(first.excerpt or "")
    while len(batch) < MAX_BATCH and size < MAX_EXCERPTS:
        try:
            batch.append(results.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            break
        size += len(batch[-1].excerpt or "")
    return batch
