"""What operators see of the queue: true while it is small, cheap when it is large, never waited for long."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
import trio

from daemon.store.database import Database
from daemon.store.observation import MAX_COUNTED, MAX_LANES, Observer, Sight, observe
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    claim,
    prepare,
    prove,
    publish,
    publish_ready,
    record,
    register,
    register_many,
    result,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def test_an_empty_queue(session: Session, database: Database) -> None:
    seen = await observe(database)
    assert (seen.due, seen.oldest_due, seen.inbox, seen.inbox_oldest) == (0, None, 0, None)
    assert (seen.circuits, seen.full_hosts, seen.paced_hosts) == (0, 0, 0)
    assert seen.partitions is not None
    assert 14 * 86400 < seen.partitions <= 28 * 86400


async def test_the_inbox_and_what_is_due(session: Session, database: Database) -> None:
    org, paused = uuid4(), uuid4()
    await register(session, org)
    off = await register(session, paused)
    await publish_ready(session, paused, 1)
    await route_all(session)
    await session.fetchval("select hookd.set_active($1, false, null)", off)
    await publish_ready(session, org, 3)
    await publish(session, org, deliver_after=await advance(session, 4) + timedelta(minutes=1))
    await advance(session, 2)
    seen = await observe(database)
    assert (seen.due, seen.inbox) == (0, 4)
    assert seen.inbox_oldest == pytest.approx(6, abs=0.01)
    await route_all(session)
    await advance(session, 10)
    seen = await observe(database)
    assert (seen.due, seen.inbox) == (3, 0)
    assert seen.oldest_due == pytest.approx(10, abs=0.01)


async def test_what_waits_for_limits_is_due_and_says_for_which(session: Session, database: Database) -> None:
    full, paced = uuid4(), uuid4()
    await register(session, full, host="full.example:443", max_in_flight=2)
    await register(session, paced, host="paced.example:443", rate=0.01, burst=1)
    await prove(session)
    await publish_ready(session, full, 5)
    await publish_ready(session, paced, 5)
    await route_all(session)
    assert len(await claim(session)) == 3
    seen = await observe(database)
    assert seen.due == 7
    assert (seen.circuits, seen.full_hosts, seen.paced_hosts) == (0, 1, 1)


async def test_open_circuits(session: Session, database: Database) -> None:
    org = uuid4()
    await register(session, org, host="dead.example:443")
    await prove(session)
    await publish_ready(session, org, 8)
    await route_all(session)
    for _ in range(5):  # those of one moment count once
        [held] = await claim(session, batch=1)
        assert await record(session, [result(held, "retry", delay=60.0, host_failed=True)]) == [True]
        await advance(session, 0.01)
    assert (await observe(database)).circuits == 1
    assert (await observe(database)).due == 3


async def test_who_holds_the_snapshot_is_named(
    session: Session, database: Database, connect: Connect
) -> None:
    holder = await connect()
    await holder.begin("repeatable read")
    await holder.fetchval("select 1")
    for _ in range(5):
        await session.execute("create table one (n int); drop table one")
    (held,) = [one for one in (await observe(database)).holders if one.kind == "backend"]
    assert held.transactions >= 5
    assert held.seconds is not None
    assert held.seconds > 0
    await holder.commit()
    after = [one for one in (await observe(database)).holders if one.kind == "backend"]
    assert not after or after[0].transactions < 5


async def test_a_large_queue_is_counted_up_to_the_limit_without_reading_it(
    session: Session, database: Database
) -> None:
    await register_many(session, uuid4(), 50, hosts=10)
    await session.execute(
        """
        insert into hookd.delivery (id, subscription_id, event_id, due)
        select gen_random_uuid(), s.subscription_id, gen_random_uuid(), hookd.clock() - interval '1 minute'
        from hookd.lane s, generate_series(1, 4000) n;
        update hookd.lane set due = hookd.clock(), floor = '-infinity';
        analyze hookd.delivery;
        """
    )
    seen = await observe(database, 30)
    assert seen.due == MAX_COUNTED
    assert seen.oldest_due == pytest.approx(60)
    assert seen.pending == pytest.approx(200_000, rel=0.01)
    scans = "select seq_scan, seq_tup_read from pg_stat_user_tables where relname in ('delivery', 'lane')"
    await session.execute("select pg_stat_force_next_flush()")
    before = await session.fetch(scans)
    await session.fetch(STATEMENTS["observe"], MAX_COUNTED, MAX_LANES)
    await session.execute("select pg_stat_force_next_flush()")
    assert await session.fetch(scans) == before


async def test_postgres_is_asked_once_for_all_who_ask(session: Session, database: Database) -> None:
    org = uuid4()
    observer = Observer(database, kept=60)
    seen = []

    async def look() -> None:
        seen.append(await observer.look())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(look)
    await publish(session, org)
    await look()
    assert len(seen) == 21
    assert all(one is seen[0] for one in seen)
    assert (await observe(database)).inbox == 1


async def test_postgres_that_hangs_is_not_waited_for(
    session: Session, database: Database, connect: Connect
) -> None:
    blocker = await connect()
    await blocker.begin()
    await blocker.execute("lock table hookd.lane in access exclusive mode")
    observer = Observer(database, kept=0, deadline=0.2)
    assert await observer.look() == Sight(answers=True, writable=True, queue=None)
    await blocker.rollback()
    assert (await Observer(database, kept=0).look()).queue is not None
