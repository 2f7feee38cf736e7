"""Recording: results are written in batches, each as large as what came while the one before was written."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from uuid import UUID

import trio
from asyncpg import PostgresError

from daemon.delivery.attempt_logging import CircuitLog
from daemon.delivery.attempt_metrics import count_attempts, count_ends
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.store.database import Database, persistently
from daemon.store.results import Recorded, Result, recording
from daemon.store.turn import TakeTurn

logger = logging.getLogger("hookd.recorder")

GATHER = 0.010
"""Seconds of rest after a batch, so that few results are not a transaction each; a first one never waits."""
MOST = 1000
"""Results in one transaction."""
MOST_EXCERPTS = 4_000_000
"""Characters of excerpts in one transaction."""


class Leases:
    """How many deliveries of each lease are still to be recorded, so that the last one drops the lease."""

    def __init__(self) -> None:
        self._left: Counter[UUID] = Counter()
        self._lone: set[UUID] = set()

    def add(self, token: UUID, deliveries: int, *, lone: bool = False) -> None:
        """Expect that many results of a new lease; `lone`: of what was claimed as soon as it was routed."""
        self._left[token] += deliveries
        if lone:
            self._lone.add(token)

    def keep(self, token: UUID) -> None:
        """Never report the lease as done: it still holds a delivery, which only its end gives back."""
        self._left[token] += 1

    def settle(self, results: Sequence[Result]) -> list[UUID]:
        """Count the results; return the leases of which nothing is left."""
        done = []
        for token, count in Counter(result.token for result in results).items():
            self._left[token] -= count
            if self._left[token] <= 0:
                del self._left[token]
                self._lone.discard(token)
                done.append(token)
        return done

    def apart(self, results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
        """Return the lone results, and the rest.

        Together they would hold the locks of the lone ones' hosts for as long as they wait for those at which
        a burst or a wide fan-out is being routed, and what comes for the lone ones would wait, too.
        """
        lone = [one for one in results if one.token in self._lone]
        return lone, [one for one in results if one.token not in self._lone] if lone else list(results)


async def serve_recorder(
    database: Database,
    results: trio.MemoryReceiveChannel[Result],
    *,
    turn: TakeTurn,
    leases: Leases,
    disable_after: Callable[[], float],
    claimable: Callable[[], None],
    metrics: Metrics,
    progress: Progress,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Record until every sender has closed its end of the channel and all is written.

    A result that cannot be written waits for Postgres, and with it, as the channel is bounded, the senders
    and the claimer. All but lone results wait for their `turn`. `claimable` is called after a batch where a
    claim may find something at its hosts.
    """
    task_status.started()
    circuits = CircuitLog()

    async def record(batch: list[Result], turn: TakeTurn) -> None:
        began = trio.current_time()
        done = leases.settle(batch)
        written = await _write(database, batch, done, turn, disable_after(), leases, progress)
        metrics.record_seconds.observe(trio.current_time() - began)
        count_ends(metrics, batch, written.counted)
        metrics.throttled.add(("circuit",), circuits.note(batch, written.circuits))
        if not all(written.counted):
            late = written.counted.count(False)
            logger.warning(
                "%d results came after their lease had ended and do not count; such deliveries are sent"
                " again. If this is frequent, Postgres is too slow for the load",
                late,
            )
        if written.owed:
            claimable()

    async def record_nothing() -> None:
        """Let Postgres make its plans, and see that it can be written, before there are results."""
        await _write(database, [], [], nullcontext, 0.0, leases, progress)

    async with results, trio.open_nursery() as nursery:
        nursery.start_soon(record_nothing)
        async for first in results:
            batch = [first]
            size = len(first.excerpt or "")
            while len(batch) < MOST and size < MOST_EXCERPTS:
                try:
                    batch.append(results.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
                size += len(batch[-1].excerpt or "")
            count_attempts(metrics, batch)
            lone, rest = leases.apart(batch)
            if lone:
                await record(lone, nullcontext)
            if rest:
                await record(rest, turn)
            await trio.sleep(GATHER)
        nursery.cancel_scope.cancel()


async def _write(
    database: Database,
    batch: Sequence[Result],
    done: Sequence[UUID],
    turn: TakeTurn,
    disable_after: float,
    leases: Leases,
    progress: Progress,
) -> Recorded:
    """Write a batch; where Postgres refuses it, its results one by one, and then without excerpt.

    What cannot be written even so is left to the end of its lease, and is sent again.
    """
    again = partial(
        _write, database, turn=turn, disable_after=disable_after, leases=leases, progress=progress
    )
    progress.begin()
    try:
        unit = recording(database, batch, done, disable_after, turn)
        recorded = await persistently(database, unit, on_unavailable=progress.failed)
        progress.done()
        return recorded
    except PostgresError:
        progress.rest()
        logger.exception("%d results could not be recorded together; report this", len(batch))
    if len(batch) == 1:
        if batch[0].excerpt is None:
            leases.keep(batch[0].token)
            return Recorded([False], [], owed=True)
        return await again([replace(batch[0], excerpt=None, note=None, headers=None)], done)
    singly = [await again([one], []) for one in batch]
    counted = [counted for one in singly for counted in one.counted]
    return Recorded(counted, [], any(one.owed for one in singly))
