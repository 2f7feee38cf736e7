"""Publishing: inside the caller's transaction, in nobody's way; and what the schema keeps ready for it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio

from daemon.store.results import Held
from daemon.store.routing import NO_CLAIM
from tests.support.postgres import Session
from tests.support.queue_lab import (
    NOON,
    STATEMENTS,
    advance,
    claim,
    claim_any,
    load_naive,
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


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def count(session: Session, table: str) -> int:
    found: int = await session.fetchval(f"select count(*) from hookd.{table}")  # noqa: S608
    return found


async def everything_while_a_publisher_is_open(connect: Connect, session: Session) -> None:
    """Publish and leave the transaction open; then do all else, without waiting for a lock."""
    open_publisher = await connect()
    org = uuid4()
    await register(session, org)
    await prove(session)
    await open_publisher.begin()
    await publish(open_publisher, org, key="mine")
    await publish_ready(open_publisher, org)
    await session.execute("set lock_timeout = '300ms'")
    await publish(session, org, key="another")
    await publish_ready(session, org)
    await route_all(session)
    held = await claim_any(session)
    assert len(held) == 2
    await record(session, [result(one) for one in held])
    assert (
        await session.fetchval(
            "select count(*) from hookd.make_partitions($1, $2)", NOON, NOON + timedelta(days=60)
        )
        > 4
    )
    await publish(open_publisher, org)
    await open_publisher.commit()
    await route_all(session)
    assert len(await claim_any(session)) == 3


async def test_an_open_publisher_delays_nobody(connect: Connect, session: Session) -> None:
    await everything_while_a_publisher_is_open(connect, session)


@pytest.mark.parametrize("naive", ["publish_in_order", "partitions_in_place"])
async def test_naive_publisher_delays_others(connect: Connect, session: Session, naive: str) -> None:
    await load_naive(session, naive)
    with pytest.raises(BaseException) as caught:
        await everything_while_a_publisher_is_open(connect, session)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, asyncpg.LockNotAvailableError)


async def test_publish_takes_no_lock_that_two_publishers_would_share(session: Session) -> None:
    await session.begin()
    await publish(session, uuid4(), key="k")
    rows = await session.fetch(
        "select locktype, mode, relation::regclass::text as name from pg_locks where pid = pg_backend_pid()"
        " and mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')"
    )
    assert {row["locktype"] for row in rows} <= {"virtualxid", "transactionid"}, rows
    await session.commit()


@pytest.mark.parametrize("awake, hints", [(5, 0), (-5, 1)])
async def test_publish_wakes_only_daemons_that_are_at_rest(
    connect: Connect, session: Session, awake: int, hints: int
) -> None:
    """A notification takes a lock of the whole cluster at commit: a busy publisher must not send any."""
    heard: list[object] = []
    listener = await connect()

    async def listen(connection: object) -> None:
        await connection.add_listener("hookd.wake", lambda *what: heard.append(what))  # type: ignore[attr-defined]

    await listener.run(listen)
    until = "update hookd.publishing set awake_until = hookd.clock() + make_interval(secs => $1)"
    await session.execute(until, awake)
    org = uuid4()
    await session.begin()
    await publish(session, org)
    await session.fetchval("select hookd.publish_batch($1, '{t,t}', '{1,2}')", org)
    assert await listener.fetchval("select 1") == 1
    assert heard == []
    await session.commit()
    await publish_ready(session, org)  # from a daemon, which wakes its own router
    assert await listener.fetchval("select 1") == 1
    assert len(heard) == hints


async def test_staying_awake_is_written_down_seldom(session: Session) -> None:
    async def version() -> str:
        return str(await session.fetchval("select ctid from hookd.publishing"))

    await session.execute("select hookd.stay_awake('10 s')")
    first = await version()
    await advance(session, 4)
    await session.execute("select hookd.stay_awake('10 s')")
    assert await version() == first
    await advance(session, 2)
    await session.execute("select hookd.stay_awake('10 s')")
    assert await version() != first


async def test_polling_tells_of_events_and_of_what_is_due(session: Session) -> None:
    async def poll() -> tuple[bool, bool]:
        row = await session.fetchrow("select inbox, due from hookd.poll()")
        assert row is not None
        return row["inbox"], row["due"]

    org = uuid4()
    await register(session, org)
    assert await poll() == (False, False)
    await publish_ready(session, org)
    assert await poll() == (True, False)
    await route_all(session)
    assert await poll() == (False, True)
    held = await claim_any(session)
    assert await poll() == (False, False)
    await record(session, [result(held[0], "retry", delay=30.0, lane="answered_well", host_failed=False)])
    assert await poll() == (False, False)
    await advance(session, 31)
    assert await poll() == (False, True)


async def test_publish_rolls_back_with_the_business_change(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await session.begin()
    await publish(session, org, key="k")
    await session.rollback()
    await session.begin()
    await session.execute("savepoint s")
    await publish(session, org)
    await session.execute("rollback to s")
    kept = await publish(session, org)
    await session.commit()
    await route_all(session)
    (held,) = await claim_any(session)
    assert held.event_id == kept
    assert [await count(session, table) for table in ("event", "event_key", "inbox")] == [1, 0, 0]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_publish_works_at_the_callers_isolation(session: Session, isolation: str) -> None:
    org = uuid4()
    await register(session, org)
    await session.begin(isolation)
    await publish(session, org, key="k")
    await session.commit()
    assert await route_all(session) == 1


async def test_a_key_is_published_once_in_24_hours(session: Session) -> None:
    org, other = uuid4(), uuid4()
    first = await publish(session, org, key="k")
    assert await publish(session, org, key="k") == first
    assert await publish(session, other, key="k") != first
    await advance(session, 24 * 3600 - 1)
    assert await publish(session, org, key="k") == first
    await session.execute(STATEMENTS["forget_keys"])
    assert await publish(session, org, key="k") == first
    await advance(session, 1)
    second = await publish(session, org, key="k")
    assert second != first and await publish(session, org, key="k") == second
    assert await count(session, "inbox") == 3


@pytest.mark.parametrize("ends_with", ["commit", "rollback"])
async def test_the_same_key_at_once_waits_and_gets_the_same_event(
    connect: Connect, session: Session, ends_with: str
) -> None:
    org, other = uuid4(), await connect()
    await session.begin()
    first = await publish(session, org, key="k")
    got: list[UUID] = []

    async def second() -> None:
        got.append(await publish(other, org, key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await other.wait_blocked(by=session)
        await session.execute(ends_with)
    assert (got == [first]) == (ends_with == "commit")
    assert await count(session, "inbox") == 1


async def test_a_batch_is_published_whole_in_order(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    statement = "select hookd.publish_batch($1, $2, $3::text[]::jsonb[], $4, $5)"
    later = NOON + timedelta(hours=1)
    ids = await session.fetchval(
        statement, org, ["a", "b", "a"], ["{}", "1", "null"], ["x", None, "x"], [None, later, None]
    )
    assert ids[0] == ids[2] != ids[1]
    assert await session.fetchval(statement, org, ["a"], ["{}"], ["x"], None) == [ids[0]]
    assert await session.fetchval(statement, org, [], [], None, None) == []
    await route_all(session)
    assert [one.event_id for one in await claim_any(session)] == [ids[0]]
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await session.fetchval(statement, org, ["a", "b"], ["{}", "{}"], ["x"], None)
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await session.fetchval(statement, org, ["a", None], ["{}", "{}"], None, None)
    assert await count(session, "event") == 2


async def test_deliver_after_waits_until_then(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await publish(session, org, deliver_after=NOON + timedelta(seconds=90))
    await route_all(session)
    row = await session.fetchrow("select * from hookd.next_due()")
    assert row is not None and (row["ready"], row["probe"]) == (None, 90.0)
    assert await claim_any(session) == []
    await advance(session, 90)
    assert len(await claim_any(session)) == 1


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("$1, 'no.such', '{}'", "unknown event type"),
        ("null, 'known', '{}'", "must not be null"),
        ("$1, null, '{}'", "must not be null"),
        ("$1, 'known', null", "must not be null"),
        ("$1, 'known', '{}', ''", "the key has 0 characters"),
        ("$1, 'known', '{}', repeat('k', 257)", "the key has 257 characters"),
        ("$1, 'known', to_jsonb(repeat('x', 1048577))", "more than the 1048576 allowed"),
        ("$1, 'known', to_jsonb(repeat('é', 200000))", "1200109 bytes as it is sent, more than the 1048576"),
        ("$1, 'known', (repeat('[', 65) || repeat(']', 65))::jsonb", "deeper than 64 levels"),
        ("$1, 'known', (repeat('{\"a\":', 64) || '[]' || repeat('}', 64))::jsonb", "deeper than 64 levels"),
    ],
)
async def test_what_cannot_be_delivered_is_refused_with_a_remedy(
    session: Session, arguments: str, says: str
) -> None:
    await session.execute("update hookd.publishing set types = '{known}'")
    await session.execute("prepare p(uuid) as select 1")
    with pytest.raises(asyncpg.InvalidParameterValueError, match=says) as caught:
        await session.fetchval(f"select hookd.publish({arguments}) where $1::uuid is not null", uuid4())
    assert caught.value.sqlstate == "22023" and caught.value.hint
    assert await count(session, "event") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        "'known', 'null'",
        "'known', '{}', repeat('ü', 256)",
        "'known', (repeat('[', 64) || repeat(']', 64))::jsonb",
        "'known', to_jsonb(repeat('x', 1000000))",
        "'known', '1e400'",
    ],
)
async def test_what_can_be_stored_is_published(session: Session, arguments: str) -> None:
    await session.execute("update hookd.publishing set types = '{known}'")
    assert await session.fetchval(f"select hookd.publish($1, {arguments})", uuid4())


async def test_data_from_a_table_is_measured_as_it_is_sent(session: Session) -> None:
    """A value that Postgres keeps compressed is as large as what it stands for."""
    await session.execute(
        "create table document (data jsonb); insert into document values (to_jsonb(repeat('x', 3000000)))"
    )
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await session.fetchval("select hookd.publish($1, 't', data) from document", uuid4())


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01", "10000-01-01 00:00+00"])
async def test_a_moment_that_cannot_be_shown_is_refused(session: Session, moment: str) -> None:
    for call in [
        "select hookd.publish($1, 't', '{}', deliver_after => $2::text::timestamptz)",
        "select hookd.publish_batch($1, '{t,t}', '{1,2}', null, array[null, $2::text::timestamptz])",
    ]:
        with pytest.raises(asyncpg.InvalidParameterValueError, match="deliver_after") as caught:
            await session.fetchval(call, uuid4(), moment)
        assert caught.value.hint
    assert await count(session, "event") == 0
    await publish(session, uuid4(), deliver_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


async def test_publish_is_only_for_those_who_were_granted_it(session: Session) -> None:
    role = f"publisher_{uuid4().hex[:12]}"
    await session.execute(f"create role {role}; grant usage on schema hookd to {role}")
    try:
        await session.execute(f"set role {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await publish(session, uuid4())
        await session.execute(
            f"reset role; grant execute on function hookd.publish to {role}; set role {role}"
        )
        await publish(session, uuid4(), key="k")
    finally:
        await session.execute(f"reset role; drop owned by {role}; drop role {role}")


async def test_publish_keeps_the_callers_durability(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await session.execute("set synchronous_commit = on")

    async def after(work: Callable[[], Awaitable[object]]) -> tuple[str, str]:
        await session.begin()
        await work()
        within = await session.fetchval("show synchronous_commit")
        await session.commit()
        return within, await session.fetchval("show synchronous_commit")

    async def route_in_this_transaction() -> None:
        rows = await session.fetch(STATEMENTS["open_shards"], 500, 1, None)
        await session.fetchval(
            STATEMENTS["route"], [rows[0]["shard"]], 500, 500, [], [], [], [], *NO_CLAIM.arguments
        )

    held: list[Held] = []

    async def claim_in_this_transaction() -> None:
        held.extend(await claim(session, probe=True))

    assert await after(lambda: publish(session, org, key="k")) == ("on", "on")
    assert await after(lambda: publish_ready(session, org)) == ("on", "on")
    assert await after(route_in_this_transaction) == ("off", "on")
    assert await after(claim_in_this_transaction) == ("off", "on")
    assert await after(lambda: record(session, [result(one) for one in held])) == ("off", "on")


async def test_every_statement_may_take_another_connection(connect: Connect, session: Session) -> None:
    """As a transaction pooler has it: no setting, prepared statement or lock is left behind."""
    org = uuid4()
    others = [await connect() for _ in range(5)]
    await register(others[0], org)
    await publish(others[1], org)
    await route_all(others[2])
    (held,) = await claim_any(others[3])
    assert await record(others[4], [result(held)]) == [True]
    settings = (  # asyncpg itself sets jit
        "select string_agg(name || setting, ' ' order by name) from pg_settings"
        " where source = 'session' and name <> 'jit'"
    )
    fresh = await (await connect()).fetchval(settings)
    for one in others:
        assert await one.fetchval(settings) == fresh
        assert (
            await one.fetchval(
                "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
            )
            == 0
        )


@pytest.mark.parametrize(
    "call",
    [
        "select * from hookd.claim(gen_random_uuid(), 1, 1, '60s', false)",
        "select * from hookd.open_shards(1, 1)",
    ],
)
async def test_another_isolation_is_refused_with_a_remedy(session: Session, call: str) -> None:
    await session.execute("set default_transaction_isolation = 'repeatable read'")
    with pytest.raises(asyncpg.RaiseError, match="read committed") as caught:
        await session.fetch(call)
    assert caught.value.hint is not None and "default_transaction_isolation" in caught.value.hint


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
async def test_partitions_are_whole_weeks_in_utc_whatever_the_sessions_zone(
    session: Session, zone: str
) -> None:
    await session.execute(f"set timezone = '{zone}'")
    start = datetime(2027, 3, 1, tzinfo=UTC)  # Monday, two weeks before summer time begins in New York
    made = await session.fetch(
        "select * from hookd.make_partitions($1, $2)", start, start + timedelta(days=250)
    )
    names = sorted(row[0] for row in made if row[0].startswith("event_"))
    assert names == [f"event_{start + timedelta(weeks=week):%Y%m%d}" for week in range(len(names))]
    assert (
        await session.fetch("select * from hookd.make_partitions($1, $2)", start, start + timedelta(days=250))
        == []
    )
    rows = await session.fetch("select name, ends_at from hookd.partitions() where parent = 'event'")
    ends = {row["name"]: row["ends_at"] for row in rows}
    assert ends["event_20270301"] == start + timedelta(weeks=1)
    for day in range(240):
        await session.execute(
            "insert into hookd.event (id, org_id, type) values (hookd.uuid7($1), gen_random_uuid(), 't')",
            start + timedelta(days=day),
        )


async def test_there_is_no_default_partition_and_the_edges_meet(session: Session) -> None:
    bounds = await session.fetch(
        "select pg_get_expr(c.relpartbound, c.oid) as bound"
        " from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'hookd.event'::regclass order by 1"
    )
    parts = [row["bound"].split("'") for row in bounds]
    assert len(parts) > 3 and all(len(one) == 5 for one in parts)
    assert all(one[3] == two[1] for one, two in pairwise(parts))
