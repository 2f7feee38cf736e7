"""Postgres' clock was ahead for a while and is set back: nothing waits for the time that was wrong."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from daemon.store.database import Database
from daemon.store.retention import DUTY_TIME, see_clock
from daemon.store.set_back import DUTY, set_back
from tests.support.postgres import Session
from tests.support.queue_lab import (
    NOON,
    advance,
    claim_any,
    expired,
    prepare,
    prove,
    publish,
    publish_ready,
    record,
    register,
    result,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]
DAYS, MINUTE = 40 * 86400.0, 60.0


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    await opened.fetch("select hookd.make_partitions($1, $1)", NOON + timedelta(seconds=DAYS))
    return opened


async def leap(session: Session, database: Database) -> None:
    """Let the clock be 40 days ahead from now on, and be seen so."""
    await see_clock(database)
    await advance(session, DAYS)
    await see_clock(database)


async def leap_back(session: Session, database: Database) -> None:
    """Set it back, and do what upkeep does about it."""
    await advance(session, -DAYS)
    seen = await see_clock(database)
    assert seen.set_back_from is not None
    assert (await see_clock(database)).set_back_from is not None, "who dies in between is followed by another"
    other = uuid4()
    assert await session.fetchval("select hookd.take_duty($1, $2, $3)", DUTY, other, DUTY_TIME)
    assert not await set_back(database, seen.set_back_from), "another is at it"
    await session.execute("delete from hookd.duty")
    assert await set_back(database, seen.set_back_from)
    assert await session.fetchval("select count(*) from hookd.duty") == 0
    assert (await see_clock(database)).set_back_from is None


async def test_what_was_made_or_failed_at_the_wrong_time_goes_at_the_right_one(
    session: Session, database: Database
) -> None:
    org = uuid4()
    await register(session, org)
    await prove(session)
    await leap(session, database)
    failing, new = await publish_ready(session, org), await publish_ready(session, org)
    await route_all(session)
    first, second = await claim_any(session)
    await record(session, [result(first, "retry", delay=300.0, lane="answered_badly"), result(second)])
    waiting = await publish_ready(session, org)
    await route_all(session)
    await leap_back(session, database)
    assert {first.event_id, second.event_id} == {*failing, *new}
    [third] = await claim_any(session)
    assert [third.event_id] == waiting
    await record(session, [result(third)])
    await advance(session, 299)
    assert await claim_any(session) == []
    await advance(session, 1)
    assert [held.event_id for held in await claim_any(session)] == [first.event_id]


async def test_what_waited_before_and_is_for_later_keeps_its_time(
    session: Session, database: Database
) -> None:
    org = uuid4()
    await register(session, org)
    await prove(session)
    later = await publish(session, org, deliver_after=NOON + timedelta(hours=2))
    [retried] = await publish_ready(session, org)
    await route_all(session)
    [held] = await claim_any(session)
    await record(session, [result(held, "retry", delay=3600.0, lane="answered_badly")])
    await leap(session, database)
    await leap_back(session, database)
    assert await claim_any(session) == []
    await advance(session, 3600)
    [held] = await claim_any(session)
    assert held.event_id == retried
    await record(session, [result(held)])
    await advance(session, 3599)
    assert await claim_any(session) == []
    await advance(session, 1)
    assert [held.event_id for held in await claim_any(session)] == [later]


async def test_hosts_lanes_and_leases_are_not_held_until_the_wrong_time(
    session: Session, database: Database
) -> None:
    orgs = paused, refused, limited, abandoned = [uuid4() for _ in range(4)]
    for org in orgs:
        await register(session, org, host=f"h{org}:443", rate=1.0 if org == limited else 1e6, burst=1.0)
    await prove(session)
    await leap(session, database)
    for org in orgs:
        await publish_ready(session, org)
    await route_all(session)
    held = {await owner(session, one.event_id): one for one in await claim_any(session)}
    assert set(held) == set(orgs)
    await record(session, [
        result(held[paused], "retry", delay=1.0, hold=60.0, lane="answered_badly", host_failed=False),
        result(held[limited]),
    ], done=False)  # fmt: skip
    await record(session, [result(held[refused], "retry", delay=1.0, host_failed=True)], done=False)
    await session.execute(
        "update hookd.host set circuit_failures = 5, circuit_trips = 9,"
        " blocked_until = hookd.clock() + interval '5 minutes' where name = $1",
        f"h{refused}:443",
    )
    await publish_ready(session, limited)
    await route_all(session)
    await leap_back(session, database)
    await advance(session, 2 * MINUTE)
    assert {one.event_id for one in await expired(session)} == {held[abandoned].event_id}
    came = [await owner(session, one.event_id) for one in await claim_any(session)]
    assert set(came) == {paused, refused, limited}


async def owner(session: Session, event_id: object) -> object:
    return await session.fetchval("select org_id from hookd.event where id = $1", event_id)


async def test_keys_are_not_kept_for_longer_than_a_day(session: Session, database: Database) -> None:
    org = uuid4()
    await leap(session, database)
    first = await publish(session, org, key="k")
    await leap_back(session, database)
    assert await publish(session, org, key="k") == first
    await advance(session, 24 * 3600 + 1)
    assert await publish(session, org, key="k") != first
