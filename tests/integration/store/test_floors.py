"""Floors of the inbox after the database was moved to another cluster, and what lies below one."""

import logging
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from daemon.store.database import Database
from daemon.store.floors import look_below_floors, meet_cluster
from daemon.store.observation import Observer
from tests.support.postgres import Session
from tests.support.queue_lab import advance, claim_any, prepare, publish, register, route_all

Connect = Callable[[], Awaitable[Session]]

FLOORS_THAT_WERE_PASSED = "update hookd.inbox_shard set floor = '100'"
"""As after dump and restore, once the new cluster has given out as many transaction ids as the old one."""


async def moved(connect: Connect, *, remembered: bool = True) -> tuple[Session, list[UUID]]:
    """Return a session on a database that was restored here and published to; and its events."""
    session = await connect()
    await prepare(session)
    if remembered:
        await session.execute("insert into hookd.cluster (system_identifier) values (1)")
    org = uuid4()
    await register(session, org, ordered=True)
    events = []
    for _ in range(3):
        await advance(session, 1)
        events.append(await publish(session, org))
    await session.execute("update hookd.inbox set xid = '900000' where event_id = $1", events[0])
    await session.execute("update hookd.event set xid = '900000' where id = $1", events[0])
    # lower than any transaction that another test has under way on this server: beyond that no floor counts
    await session.execute("update hookd.inbox set xid = '50' where event_id = any ($1)", events[1:])
    await session.execute("update hookd.event set xid = '50' where id = any ($1)", events[1:])
    await session.execute(FLOORS_THAT_WERE_PASSED)
    return session, events


async def owed(session: Session) -> list[UUID]:
    return [row[0] for row in await session.fetch("select event_id from hookd.delivery order by due")]


async def test_below_the_floors_of_another_cluster_nothing_is_routed(connect: Connect) -> None:
    session, events = await moved(connect)
    await session.execute("delete from hookd.inbox where event_id = $1", events[0])
    await route_all(session)
    assert await owed(session) == []


@pytest.mark.parametrize("remembered", [True, False])
async def test_in_another_cluster_floors_start_anew(
    database: Database, connect: Connect, caplog: pytest.LogCaptureFixture, remembered: bool
) -> None:
    session, events = await moved(connect, remembered=remembered)
    with caplog.at_level(logging.WARNING, "hookd"):
        await database.run(lambda connection: meet_cluster(connection, database))
    assert ("moved here from another cluster" in caplog.text) is remembered
    await route_all(session)
    assert await owed(session) == events
    assert await claim_any(session)
    caplog.clear()
    await database.run(lambda connection: meet_cluster(connection, database))
    assert caplog.text == ""
    # What is published from then on moves the floors up again.
    await advance(session, 1)
    more = await publish(session, await session.fetchval("select org_id from hookd.subscription"))
    await route_all(session)
    assert (await owed(session))[-1] == more
    assert await session.fetchval("select count(*) from hookd.inbox") == 0


async def test_what_lies_below_a_floor_is_found_and_told(
    database: Database, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    session, events = await moved(connect)
    await session.execute("delete from hookd.inbox where event_id = $1", events[0])
    await session.execute(
        "update hookd.cluster set system_identifier = (pg_control_system()).system_identifier"
    )
    assert await look_below_floors(database) == 1
    assert "events lay below the floors of 1 shards" in caplog.text
    await route_all(session)
    assert await owed(session) == events[1:]
    assert await look_below_floors(database) == 0


async def test_gauges_see_what_lies_below_a_floor(database: Database, connect: Connect) -> None:
    session, events = await moved(connect)
    await session.execute("delete from hookd.inbox where event_id = $1", events[0])
    await session.execute("update hookd.inbox_shard set served_at = now()")
    seen = (await Observer(database).look()).queue
    assert seen is not None
    assert seen.inbox == 2
