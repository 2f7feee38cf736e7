"""What a step of the queue costs must not depend on what is owed, on plans made earlier, or on dead rows.

Costs are counted in blocks, which the machine's speed does not change.
"""

# ruff: noqa: S608  (statements are put together from a test's own numbers and names)

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from daemon.store import routing
from daemon.store.database import Connection, Database
from tests.support.postgres import (
    Session,
    connect_session,
    fresh_database,
    migrated_template,
    reachable_directory,
    server,
)
from tests.support.queue_drain import (
    CLAIM,
    OPEN_SHARDS,
    RECORD,
    ROUTE,
    Cost,
    Costs,
    cost,
    drain,
    fill_inbox,
    fill_queue,
    route_costs,
    warm,
)
from tests.support.queue_lab import (
    NOON,
    burst,
    load_naive,
    of_one_shard,
    prepare,
    publish,
    register_many,
    route,
    waiting,
)

Connect = Callable[[], Awaitable[Session]]
BATCH = 100
A_ROW = 120
"""Blocks that a step may touch for each delivery."""


@pytest.fixture(scope="module")
def undisturbed_server() -> Iterator[str]:
    """The URL of a server of its own.

    What other tests do on theirs makes sessions forget plans, and their transactions hold inbox floors back.
    """
    with reachable_directory() as directory, server(directory) as url:
        yield url


@pytest.fixture
def undisturbed_url(undisturbed_server: str) -> Iterator[str]:
    """A migrated database on it."""
    with fresh_database(undisturbed_server, migrated_template(undisturbed_server)) as url:
        yield url


@pytest.fixture
async def connect(asyncio_loop: None, undisturbed_url: str) -> AsyncIterator[Connect]:
    """As the fixture of that name, on the server of its own."""
    async with AsyncExitStack() as stack:

        async def one_more() -> Session:
            return await stack.enter_async_context(connect_session(undisturbed_url))

        yield one_more


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    await opened.execute("set statement_timeout = '60s'")
    return opened


async def costs_of_a_full_queue(
    session: Session, *, lanes: int, hosts: int, deliveries: int
) -> dict[str, Cost]:
    """Warm the session on an almost empty queue, fill it without ANALYZE, and return what the steps cost."""
    await warm(session)
    await register_many(session, None, lanes, hosts=hosts, prefix="full")
    await fill_queue(session, deliveries, "full")
    token, lost = uuid4(), uuid4()
    found = {"claim": await cost(session, CLAIM.format(token=token, batch=BATCH, probe="false"))}
    assert await session.fetchval("select cardinality(deliveries) from hookd.lease") >= BATCH // 2
    found["record"] = await cost(session, RECORD.format(token=token, outcome="retry", delay=5))
    await cost(session, CLAIM.format(token=lost, batch=BATCH, probe="false"))
    found["leased"] = await cost(session, f"select * from hookd.leased('{lost}')")
    found["give back"] = await cost(session, RECORD.format(token=lost, outcome="unsent", delay="null"))
    await fill_inbox(session, 5_000)
    await session.execute("begin")
    found["open_shards"] = await cost(session, OPEN_SHARDS)
    shard = await session.fetchval("select shard from hookd.open_shards(1, 1)")
    found["route"] = await cost(session, ROUTE.format(shard=shard))
    await session.execute("commit")
    found["set_active"] = await cost(
        session,
        "select hookd.set_active((select subscription_id from hookd.delivery limit 1), false, 'asked')",
    )
    return found


SHAPES = [(1, 1), (1000, 100)]


@pytest.mark.parametrize("lanes, hosts", SHAPES)
async def test_plans_made_on_an_empty_queue_are_good_for_a_full_one(
    session: Session, lanes: int, hosts: int
) -> None:
    await session.execute("select hookd.make_partitions($1, $2)", NOON - timedelta(weeks=30), NOON)
    found = await costs_of_a_full_queue(session, lanes=lanes, hosts=hosts, deliveries=10_000)
    allowed = dict.fromkeys(found, A_ROW * BATCH) | {
        "route": 500 * A_ROW,
        "open_shards": 2000,
        "set_active": 1000,
    }
    dear = {name: one.blocks for name, one in found.items() if one.blocks > allowed[name]}
    assert not dear, f"{dear} of {found}"


async def test_plans_made_on_an_empty_queue_of_many_lanes_are_good_for_a_full_one(session: Session) -> None:
    """Beside the lanes, what is owed does not add much to the size of all tables."""
    await register_many(session, None, 2_500, hosts=100, prefix="full")
    await warm(session)
    await fill_queue(session, 4_000, "full")
    steps = {
        "claim": CLAIM.format(token=uuid4(), batch=BATCH, probe="false"),
        "leased": "select * from hookd.leased('{token}')",
        "record": RECORD.format(token="{token}", outcome="retry", delay=5),
        "repair": "select * from hookd.repair(0, 1)",
    }
    counted = (
        "select idx_tup_fetch + seq_tup_read from pg_stat_xact_user_tables"
        " where relid = 'hookd.delivery'::regclass"
    )
    read: dict[str, int] = {}
    for name, step in steps.items():
        await session.execute("begin")
        token = await session.fetchval("select max(token::text) from hookd.lease")
        before = await session.fetchval(counted)
        await session.execute(step.replace("{token}", token or ""))
        read[name] = await session.fetchval(counted) - before
        await session.execute("commit")
    assert max(read.values()) < 5 * BATCH, read


async def test_naive_plans_made_on_an_empty_queue_read_all_of_it(
    asyncio_loop: None, undisturbed_url: str
) -> None:
    async with connect_session(undisturbed_url) as session:
        await prepare(session)
        await load_naive(session, "plans_as_they_come")
        found = await costs_of_a_full_queue(session, lanes=70, hosts=35, deliveries=700)
    assert max(one.blocks for one in found.values()) > 2 * A_ROW * BATCH, found


async def test_events_far_behind_a_burst_are_found_step_by_step(session: Session) -> None:
    busy, other = await of_one_shard(session, 2)
    for _ in range(3):
        await burst(session, busy, 3000)
    await publish(session, other)
    turns = 0
    while await waiting(session, other):
        await route(session, limit=20)
        turns += 1
    assert turns <= 2 * (1 + 9000 // 5000) + 1


async def test_what_a_transaction_holds_of_one_organisation_is_stepped_over(session: Session) -> None:
    """A look for others' events behind a burst does not read the burst."""
    busy, other = await of_one_shard(session, 2)
    await burst(session, busy, 3000)
    await route(session, limit=20)
    for _ in range(5):
        await burst(session, busy, 3000)
    await publish(session, other)
    found = await cost(session, "select * from hookd.open_shards(20, 1)")
    await route(session, limit=20)
    assert await waiting(session, other) == 0
    assert found.blocks < 3000, "of 15,000 events"


async def test_a_router_has_its_plans_before_the_first_event(database: Database) -> None:
    async def known(connection: Connection) -> int:
        count: int = await connection.fetchval(
            "select count(*) from pg_prepared_statements"
            " where statement like '%hookd.route(%' and generic_plans > 0"
        )
        return count

    async with database.own_connection() as own:
        await own.run(partial(routing.make_plans, own))
        assert await own.run(known) == 1


async def drained_under_a_snapshot(
    connect: Connect, session: Session, *, lanes: int, hosts: int, wrote: bool = False
) -> Costs:
    """Drain 20,000 deliveries while an idle transaction elsewhere keeps every dead row."""
    costs = Costs()
    await register_many(session, None, lanes, hosts=hosts)
    await fill_inbox(session, 20_000)
    holder = await connect()
    await holder.begin("repeatable read")
    await holder.fetchval("select count(*) from hookd.host")
    if wrote:
        await holder.fetchval("select pg_current_xact_id()")
    await route_costs(session, costs.route)
    assert await drain(session, costs, batch=500) == 20_000
    await holder.rollback()
    return costs


@pytest.mark.parametrize("lanes, hosts", SHAPES)
async def test_dead_rows_under_a_held_snapshot_cost_nothing(
    connect: Connect, session: Session, lanes: int, hosts: int
) -> None:
    costs = await drained_under_a_snapshot(connect, session, lanes=lanes, hosts=hosts)
    growth = {name: round(costs.growth(name), 2) for name in ("route", "claim", "record")}
    assert max(growth.values()) < 1.9, growth


@pytest.mark.parametrize("lanes, hosts", SHAPES)
async def test_naive_scans_without_floors_pay_for_every_dead_row(
    connect: Connect, session: Session, lanes: int, hosts: int
) -> None:
    await load_naive(session, "no_floors")
    costs = await drained_under_a_snapshot(connect, session, lanes=lanes, hosts=hosts)
    growth = {name: round(costs.growth(name), 2) for name in ("route", "claim", "record")}
    assert max(growth.values()) > 1.9, growth


async def test_deliveries_due_at_one_moment_cost_nothing_more(connect: Connect, session: Session) -> None:
    """A whole day's events that are to go out at nine o'clock: one due time, which no floor can part."""
    costs = Costs()
    await register_many(session, None, 1)
    org = await session.fetchval("select org_id from hookd.subscription")
    for _ in range(20):
        await session.execute(
            "select hookd.publish_bodies("
            "array(select hookd.uuid7(hookd.clock()) from generate_series(1, 500)),"
            " array_fill($1::uuid, array[500]), array_fill('t'::text, array[500]),"
            " array_fill('{}'::text, array[500]),"
            " array_fill(null::text, array[500]), array_fill($2::timestamptz, array[500]))",
            org,
            NOON + timedelta(seconds=60),
        )
    await route_costs(session, costs.route)
    await session.execute("update hookd.test_clock set now = $1", NOON + timedelta(seconds=61))
    holder = await connect()
    await holder.begin("repeatable read")
    await holder.fetchval("select count(*) from hookd.host")
    assert await drain(session, costs, batch=250) == 10_000
    await holder.rollback()
    growth = {name: round(costs.growth(name), 2) for name in ("claim", "record")}
    assert max(growth.values()) < 2.5, growth
