"""A result that Postgres refuses harms no other, and its delivery is given back when its lease ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import trio

from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.governor import Governor
from daemon.delivery.leases import Leases
from daemon.delivery.recorder import Recorder
from daemon.metrics import Metrics
from daemon.progress import Progress
from daemon.store.database import Database, DatabaseUnavailable
from daemon.store.results import Result
from tests.support.postgres import Session
from tests.support.queue_lab import claim, prepare, prove, publish_ready, register, result, route_all

Connect = Callable[[], Awaitable[Session]]


async def owing(connect: Connect, events: int) -> Session:
    """Return a session with a subscription that is owed so many events."""
    session, org = await connect(), uuid4()
    await prepare(session)
    await register(session, org)
    await prove(session)
    await publish_ready(session, org, events)
    await route_all(session)
    return session


async def test_a_result_that_cannot_be_written_keeps_its_lease(database: Database, connect: Connect) -> None:
    session = await owing(connect, 3)
    bad, good, last = (result(held) for held in await claim(session, batch=3))
    leases = Leases()
    leases.add(bad.token, 3)
    give, take = trio.open_memory_channel[Result](3)
    first_batch = trio.Event()
    metrics = Metrics()
    writes = 0

    def disable_after() -> float:
        nonlocal writes
        writes += 1
        if writes == 2:  # the first is for Postgres to make its plans
            first_batch.set()
        return 1e6

    async with trio.open_nursery() as nursery, give:
        give.send_nowait(replace(bad, error="not in UTF-8: \0"))
        give.send_nowait(good)
        nursery.start_soon(
            Recorder(
                database,
                BulkLock(Governor(trio.current_time)),
                leases=leases,
                disable_after=disable_after,
                wake_claimer=lambda: None,
                metrics=metrics,
                progress=Progress("recording", trio.current_time),
            ).run,
            take,
        )
        with trio.fail_after(20):
            await first_batch.wait()
        give.send_nowait(last)
        give.close()
    assert metrics.deliveries.values[("succeeded",)] == 2
    assert metrics.late_results.values[()] == 1
    owed = await session.fetch("select id, lease from hookd.delivery")
    assert [(row["id"], row["lease"]) for row in owed] == [(bad.delivery_id, bad.token)]
    assert await session.fetchval("select count(*) from hookd.attempt") == 2
    assert await session.fetchval("select count(*) from hookd.lease where token = $1", bad.token) == 1


async def test_results_are_bulk_work_but_for_lone_ones(database: Database, connect: Connect) -> None:
    session = await owing(connect, 2)
    [one] = [result(held) for held in await claim(session, batch=1)]
    [another] = [result(held) for held in await claim(session, batch=1)]
    leases = Leases()
    leases.add(one.token, 1)
    leases.add(another.token, 1, single=True)
    give, take = trio.open_memory_channel[Result](2)
    metrics = Metrics()

    class Lock:
        pieces = 0

        @asynccontextmanager
        async def piece(self) -> AsyncIterator[None]:
            self.pieces += 1
            assert metrics.deliveries.values[("succeeded",)] == 1, "the single one was written before"
            yield

    lock = Lock()

    with trio.fail_after(20):
        async with give:
            for each in (one, another):
                give.send_nowait(each)
        await Recorder(
            database,
            lock,  # type: ignore[arg-type]
            leases=leases,
            disable_after=lambda: 1e6,
            wake_claimer=lambda: None,
            metrics=metrics,
            progress=Progress("recording", trio.current_time),
        ).run(take)
    assert lock.pieces == 1
    assert metrics.deliveries.values[("succeeded",)] == 2


async def test_it_ends_without_postgres_where_nothing_is_to_be_recorded() -> None:
    class Full:
        """Stands for a server that has no connection left."""

        def sql(self, name: str) -> str:
            return name

        async def run(self, unit: object, timeout: float | None = None) -> None:
            await trio.lowlevel.checkpoint()
            raise DatabaseUnavailable("too many clients")

    give, take = trio.open_memory_channel[Result](1)
    give.close()
    with trio.fail_after(30):
        await Recorder(
            Full(),  # type: ignore[arg-type]
            BulkLock(Governor(trio.current_time)),
            leases=Leases(),
            disable_after=lambda: 1e6,
            wake_claimer=lambda: None,
            metrics=Metrics(),
            progress=Progress("recording", trio.current_time),
        ).run(take)
