"""Claiming: leases as many due deliveries as there are free senders and hands them over at once."""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import trio
from asyncpg import PostgresError

from daemon.delivery.doorbell import Doorbell
from daemon.delivery.recorder import Leases
from daemon.delivery.sender import Sender
from daemon.delivery.targets import Targets
from daemon.metrics import Metrics
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.queue import Claim, Claimed, Result, claim, leased

logger = logging.getLogger("hookd.claimer")

GATHER = 0.004
"""Seconds for which a busy claimer waits for more free senders, so that it claims in batches."""
LONGEST_WAIT = 5.0
"""Seconds after which it looks by itself; the pulse wakes it before."""
OUTAGE_PAUSE = 0.5
FAULT_PAUSE = 5.0
HAND_BACK = 2.0
"""Seconds within which a cancelled sender must get rid of its result."""


class Senders:
    """A fixed number of senders behind a channel without a buffer: nothing claimed waits in memory.

    `share` of them at most serve lanes and hosts that have not answered in time of late.
    """

    def __init__(
        self, sender: Sender, results: trio.MemorySendChannel[Result], *, count: int, share: float
    ) -> None:
        self._sender = sender
        self._results = results
        self._count = count
        self._probes = max(1, int(count * share))
        self._probing = 0
        self._busy = 0
        self.freed = Doorbell()
        self._give, self._take = trio.open_memory_channel[tuple[Claimed, bool]](0)

    @property
    def busy(self) -> int:
        """Requests under way."""
        return self._busy

    @property
    def room(self) -> int:
        """How many deliveries can start now."""
        return self._take.statistics().tasks_waiting_receive

    @property
    def probe_room(self) -> int:
        """How many of them may go to lanes that have not answered in time of late."""
        return max(0, self._probes - self._probing)

    def start(self, claimed: Claimed, probe: bool) -> None:
        """Hand a delivery to a free sender. Error: `trio.WouldBlock` if there is none; see `room`."""
        self._give.send_nowait((claimed, probe))
        # counted here and not by the sender, which runs only later: the next claim may come before
        self._busy += 1
        self._probing += probe

    def close(self) -> None:
        """Take no more: each sender ends after the request that it is at."""
        self._give.close()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the senders until `close`. Cancelled, they record what is under way as interrupted."""
        async with self._results, trio.open_nursery() as nursery:
            for _ in range(self._count):
                nursery.start_soon(self._run)
            task_status.started()

    async def _run(self) -> None:
        self.freed.ring()
        async for claimed, probe in self._take:
            try:
                result = await self._sender.send(claimed)
            except trio.Cancelled:
                with trio.move_on_after(HAND_BACK, shield=True):
                    await self._results.send(claimed.result("interrupted", "interrupted", datetime.now(UTC)))
                raise
            finally:
                self._busy -= 1
                self._probing -= probe
            await self._results.send(result)
            self.freed.ring()


async def serve_claimer(
    database: Database,
    *,
    senders: Senders,
    targets: Targets,
    leases: Leases,
    results: trio.MemorySendChannel[Result],
    doorbell: Doorbell,
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
            if not senders.room:
                await senders.freed.wait(LONGEST_WAIT)
                await trio.sleep(GATHER)
                continue
            tokens = (uuid4(), uuid4())
            try:
                while lost:
                    await _give_back(database, lost[-1], leases, results)
                    lost.pop()
                began = trio.current_time()
                claimed = await claim(
                    database,
                    tokens,
                    room=senders.room,
                    probe_room=senders.probe_room,
                    lease=lease(),
                    known=targets.known,
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
            _hand_over(claimed, tokens[1], senders, targets, leases)
            wait = LONGEST_WAIT if claimed.next_due is None else min(LONGEST_WAIT, claimed.next_due)
            if not claimed.deliveries:
                wait = max(wait, GATHER)  # what is due may be in another daemon's hands just now
            if wait:
                await doorbell.wait(wait)


def _hand_over(claimed: Claim, probe_token: UUID, senders: Senders, targets: Targets, leases: Leases) -> None:
    targets.learn(claimed.targets)
    for one in claimed.deliveries:
        leases.add(one.token, 1)
        senders.start(one, one.token == probe_token)


async def _give_back(
    database: Database, token: UUID, leases: Leases, results: trio.MemorySendChannel[Result]
) -> None:
    held = await leased(database, token)
    leases.add(token, len(held))
    for one in held:
        await results.send(one.result("unsent"))
