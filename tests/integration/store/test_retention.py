import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.upkeep import Upkeep, pause_after
from daemon.metrics import Metrics
from daemon.store.database import Connection, Database
from daemon.store.retention import DUTY, DUTY_TIME, SeenClock, retain, see_clock
from daemon.store.set_back import set_back
from daemon.store.upkeep import PARTITIONS_AHEAD, make_partitions
from daemon.uuid7 import uuid7, uuid7_time
from tests.support.daemon import running, token
from tests.support.postgres import Session
from tests.support.queue_lab import NOON, advance
from tests.support.queue_lab import prepare as set_clock_to_noon
from tests.support.receiver import receiving

Connect = Callable[[], Awaitable[Session]]
HOUR, DAY = 3600.0, 86400.0

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
    dropped = await retain(
        database, {"event": 3 * WEEK, "attempt": 10 * WEEK}, now=datetime.now(UTC), expired=expired.append
    )
    assert sum(expired) == 1
    assert dropped
    assert all(name.startswith("event_") for name in dropped)
    assert await partitions(session) == before - set(dropped)
    assert await session.fetchval("select count(*) from hookd.delivery") == 0
    row = await session.fetchrow("select event_id, ended, succeeded from hookd.attempt")
    assert row is not None
    assert tuple(row) == (event, "expired", False)
    assert await session.fetchval("select ready_at = 'infinity' and probe_at = 'infinity' from hookd.host")
    assert await retain(database, {"event": 3 * WEEK, "attempt": 10 * WEEK}, now=datetime.now(UTC)) == []


async def test_a_partition_stays_while_a_delivery_of_it_is_under_way(database: Database, connect) -> None:  # type: ignore[no-untyped-def]
    session = await connect()
    await prepare(session, 6)
    before = await partitions(session)
    (claimed,) = await session.fetch("select * from hookd.claim($1, 10, 10, '1 minute', true)", uuid4())
    assert claimed["body"] == "{}"
    await retain(database, {"event": 3 * WEEK, "attempt": 10 * WEEK}, now=datetime.now(UTC))
    gone = before - await partitions(session)
    assert await session.fetchval("select count(*) from hookd.delivery") == 1
    assert await session.fetchval("select count(*) from hookd.event") == 1
    assert gone == set()


async def look(database: Database) -> tuple[bool, bool]:
    """Look at the clock; tell whether it may be gone by, and whether it has leapt."""
    seen = await see_clock(database)
    return seen.is_even, seen.leapt_from is not None


async def follow(database: Database) -> None:
    """Do what upkeep does after the clock was set back."""
    seen = await see_clock(database)
    if seen.set_back_from is not None:
        await set_back(database, seen.set_back_from)


@pytest.mark.parametrize("days", [40, -400])
async def test_after_a_leap_nothing_is_dropped_before_the_new_time_has_stood_for_an_hour(
    database: Database, connect: Connect, days: float
) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    assert await look(database) == (False, False), "of a clock that was never seen nothing is known"
    await advance(session, HOUR)
    assert await look(database) == (True, False)
    await advance(session, days * DAY)
    assert await look(database) == (False, True)
    await follow(database)
    await advance(session, 0.9 * HOUR)
    assert await look(database) == (False, False)
    await advance(session, 0.1 * HOUR)
    assert await look(database) == (True, False)


async def test_a_leap_that_is_taken_back_within_the_hour_drops_nothing(
    database: Database, connect: Connect
) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    await look(database)
    await advance(session, HOUR)
    assert await look(database) == (True, False)
    await advance(session, 40 * DAY)
    assert await look(database) == (False, True)
    await advance(session, 0.5 * HOUR - 40 * DAY)
    assert await look(database) == (False, True)


async def test_small_steps_and_late_rounds_are_no_leaps(database: Database, connect: Connect) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    await look(database)
    await advance(session, 1.1 * HOUR)
    for step in (-30, 0, 1.9 * HOUR, HOUR, -30):
        await advance(session, step)
        assert await look(database) == (True, False)
    await advance(session, 3 * HOUR)
    assert await look(database) == (False, True), "hookd was away: it costs an hour"


def test_the_next_round_comes_when_the_clock_is_even_again() -> None:
    assert pause_after(SeenClock(NOON, NOON - timedelta(hours=5), None)) == 3600
    assert pause_after(SeenClock(NOON, NOON + timedelta(hours=1), NOON)) == 3600
    assert pause_after(SeenClock(NOON, NOON + timedelta(minutes=10), None)) == 601


async def test_upkeep_makes_partitions_of_the_new_time_at_once_and_drops_none_of_the_old(
    database: Database, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    metrics, wake, stopping = Metrics(), AutoResetEvent(), trio.Event()
    followed: list[bool] = []
    caplog.set_level(logging.INFO, "hookd.upkeep")

    async def said(text: str) -> None:
        with trio.fail_after(30):
            while not any(text in record.getMessage() for record in caplog.records):  # noqa: ASYNC110
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Upkeep(
                database,
                ages=lambda: {"event": 30 * DAY, "attempt": 30 * DAY},
                wake=wake,
                wake_claimer=lambda: followed.append(True),
                metrics=metrics,
            ).run,
            stopping,
        )
        await said("made the partition")
        older = await session.fetchval("select hookd.publish($1, 't.t', '1')", uuid4())
        before = await partitions(session)
        for days, words, made in (
            (400, "400 days 0 h before", "event_20270705"),
            (-800, "800 days 0 h after", "event_20250428"),
        ):
            await advance(session, days * DAY)
            wake.set()
            await said(words)
            await said(made)
            newer = await session.fetchval("select hookd.publish($1, 't.t', '1')", uuid4())
            assert uuid7_time(newer) != uuid7_time(older)
        await said("goes by the new one now")
        assert before < await partitions(session)
        assert not any("dropped the" in record.getMessage() for record in caplog.records)
        assert await session.fetchval("select count(*) from hookd.event") == 3
        stopping.set()
        wake.set()
    assert followed == [True]
    [leap] = [one.getMessage() for one in caplog.records if "400 days" in one.getMessage()]
    assert leap == (
        "Postgres' clock says 2027-07-08T12:00:00Z and was last seen at 2026-06-03T12:00:00Z, 400 days 0 h"
        " before: nothing is dropped by its age before 2027-07-08T13:00:00Z, when that time has stood for an"
        " hour; correct the clock until then if it is wrong"
    )


async def test_partitions_of_another_time_do_not_count_as_ahead(database: Database, connect: Connect) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    await session.fetch("select hookd.make_partitions($1, $1)", NOON + timedelta(days=400))
    until = "select hookd.partitioned_until($1)"
    ahead = await session.fetchval(until, NOON) - NOON
    assert timedelta(weeks=3) < ahead < timedelta(weeks=4)
    assert await session.fetchval(until, NOON + timedelta(days=200)) <= NOON + timedelta(days=200)

    async def unit(connection: Connection) -> timedelta:
        return (await make_partitions(connection, database)).left

    assert timedelta(0) < await database.run(unit) - PARTITIONS_AHEAD < timedelta(weeks=1)


async def test_one_daemon_has_the_duty_and_leaves_it_or_loses_it(connect: Connect) -> None:
    session = await connect()
    await set_clock_to_noon(session)
    mine, others = uuid4(), uuid4()

    async def take(holder: UUID) -> bool:
        return bool(await session.fetchval("select hookd.take_duty($1, $2, $3)", DUTY, holder, DUTY_TIME))

    assert [await take(one) for one in (mine, others, mine)] == [True, False, True]
    await advance(session, DUTY_TIME.total_seconds())
    assert [await take(one) for one in (others, mine)] == [True, False], "the first one has died"
    await advance(session, -40 * DAY)
    assert [await take(one) for one in (mine, others)] == [True, False], "an end 40 days ahead is none"


async def test_whatever_befalls_retention_the_next_round_finds_no_lock_and_ends_the_work(
    database: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await connect()
    await prepare(session, 6)
    ages = {"event": 3 * WEEK, "attempt": 3 * WEEK}

    async def die(self: object) -> list[str]:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("daemon.store.retention._Retention.drop_detached", die)
        with pytest.raises(ZeroDivisionError):
            await retain(database, ages, now=datetime.now(UTC))
    assert await session.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    assert await session.fetchval("select count(*) from hookd.duty") == 0
    dropped = await retain(database, ages, now=datetime.now(UTC))
    assert {name.partition("_")[0] for name in dropped} == {"event", "attempt"}


async def test_a_daemon_that_starts_after_a_leap_of_postgres_clock_drops_nothing_and_works(
    tmp_path: Path, postgres_url: str, connect: Connect
) -> None:
    session, org = await connect(), uuid4()
    await session.fetch("select hookd.make_partitions(now(), now())")
    older = await session.fetchval("select hookd.publish($1, 'match.proposed', '1')", org)
    await session.fetch("select hookd.see_clock('2 hours', '1 hour')")
    await session.execute("update hookd.clock_seen set even_since = now() - interval '1 day'")
    await session.execute(
        "create or replace function hookd.clock() returns timestamptz language sql volatile parallel safe"
        " as $$ select clock_timestamp() + interval '40 days' $$"
    )
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.said("nothing is dropped by its age before")
        await daemon.said("the clock of this machine is 40 days 0 h behind Postgres'")
        roles = ("org_admin", "publisher")
        async with daemon.client(org) as client:
            client.headers["authorization"] = f"Bearer {token(org, *roles, lifetime=41 * DAY)}"
            made = {"url": receiver.url(), "events": ["match.proposed"]}
            assert (await client.post("/webhooks/", json=made)).status_code == 201
            answer = await client.post("/events", json={"type": "match.proposed", "data": 1})
        assert answer.status_code == 202, answer.text
        by_sql = await session.fetchval("select hookd.publish($1, 'match.proposed', '1')", org)
        await receiver.until(lambda: len(receiver.requests) == 2, 30)
        assert {one.event_id for one in receiver.requests} == {answer.json()["id"], str(by_sql)}
        then = datetime.now(UTC) + timedelta(days=40)
        for request in receiver.requests:
            assert abs(int(request.headers["webhook-timestamp"]) - then.timestamp()) < 60
    assert await session.fetchval("select count(*) from hookd.event where id = $1", older) == 1
