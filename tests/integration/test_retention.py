from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from daemon.model import uuid7
from daemon.store.database import Database
from daemon.store.retention import retain
from tests.support.postgres import Session

WEEK = 7 * 86400.0


async def prepare(session: Session, weeks: int) -> UUID:
    """Make partitions back to so many weeks ago, and one event in the oldest that is still owed."""
    begin = datetime.now(UTC) - timedelta(weeks=weeks)
    await session.fetch("select hookd.make_partitions($1, now() + interval '1 week')", begin)
    event, org, subscription = uuid7(begin.timestamp()), uuid4(), uuid7()
    await session.execute(
        "insert into hookd.event (id, org_id, type, body) values ($1, $2, 't.t', '{}')", event, org
    )
    await session.execute(
        "select hookd.register($1, $2, 'https://x/', '{t.t}', 'x', 10, 'x:443', 10, 10, 10)",
        subscription,
        org,
    )
    await session.execute(
        "insert into hookd.delivery (id, subscription_id, event_id, due) values ($1, $2, $3, now())",
        uuid7(),
        subscription,
        event,
    )
    await session.fetch("select * from hookd.repair(0, 100)")
    return event


async def partitions(session: Session) -> set[str]:
    return {row["name"] for row in await session.fetch("select name from hookd.partitions()")}


async def test_old_partitions_go_and_what_they_owe_is_given_up(database: Database, connect) -> None:  # type: ignore[no-untyped-def]
    session = await connect()
    event = await prepare(session, 6)
    before = await partitions(session)
    expired: list[int] = []
    dropped = await retain(database, {"event": 3 * WEEK, "attempt": 10 * WEEK}, expired=expired.append)
    assert sum(expired) == 1
    assert dropped
    assert all(name.startswith("event_") for name in dropped)
    assert await partitions(session) == before - set(dropped)
    assert await session.fetchval("select count(*) from hookd.delivery") == 0
    row = await session.fetchrow("select event_id, ended, succeeded from hookd.attempt")
    assert row is not None
    assert tuple(row) == (event, "expired", False)
    assert await session.fetchval("select ready_at = 'infinity' and probe_at = 'infinity' from hookd.host")
    assert await retain(database, {"event": 3 * WEEK, "attempt": 10 * WEEK}) == []


async def test_a_partition_stays_while_a_delivery_of_it_is_under_way(database: Database, connect) -> None:  # type: ignore[no-untyped-def]
    session = await connect()
    await prepare(session, 6)
    before = await partitions(session)
    (claimed,) = await session.fetch("select * from hookd.claim($1, 10, 10, '1 minute', true)", uuid4())
    assert claimed["body"] == "{}"
    await retain(database, {"event": 3 * WEEK, "attempt": 10 * WEEK})
    gone = before - await partitions(session)
    assert await session.fetchval("select count(*) from hookd.delivery") == 1
    assert await session.fetchval("select count(*) from hookd.event") == 1
    assert gone == set()
