"""Two sessions in forced order: no wake-up, result or late commit is lost."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio

from daemon.store.results import Held
from tests.support.postgres import Session
from tests.support.queue_lab import (
    advance,
    claim,
    claim_any,
    expired,
    load_naive,
    prepare,
    prove,
    publish,
    publish_ready,
    record,
    register,
    result,
    route,
    route_all,
    route_shards,
    unserved,
)

Connect = Callable[[], Awaitable[Session]]
STALL = 4711


async def one_lane(session: Session) -> UUID:
    """Prepare one organisation with one proven lane and one event due on it; return the organisation."""
    await prepare(session)
    org = uuid4()
    await register(session, org)
    await prove(session)
    await publish_ready(session, org)
    await route_all(session)
    return org


async def host_times(session: Session) -> tuple[float, float]:
    """Return in how many seconds the host's next claim is due, of proven and of other lanes."""
    row = await session.fetchrow(
        "select extract(epoch from least(ready_at, '9999-01-01') - hookd.clock())::float8,"
        " extract(epoch from least(probe_at, '9999-01-01') - hookd.clock())::float8 from hookd.host"
    )
    assert row is not None
    return row[0], row[1]


async def router_commits_between_claims_snapshot_and_lock(connect: Connect, naive: str | None) -> int:
    """Return how many deliveries are due that no claim ever finds."""
    claimer, router, other = await connect(), await connect(), await connect()
    org = await one_lane(other)
    if naive:
        await load_naive(other, naive)
    await publish_ready(other, org)
    await other.execute("select pg_advisory_lock($1)", STALL)
    await claimer.execute(f"set test.stall = '{STALL}'")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(claim, claimer)
        await claimer.wait_blocked(by=other)
        await route_all(router)
        await other.execute("select pg_advisory_unlock($1)", STALL)
    await claimer.execute("set test.stall = ''")
    while await claim_any(claimer):
        pass
    return await unserved(other)


async def test_claim_sees_what_was_routed_before_it_had_the_host(connect: Connect) -> None:
    assert await router_commits_between_claims_snapshot_and_lock(connect, None) == 0


async def test_naive_claim_in_one_statement_loses_a_wake_up(connect: Connect) -> None:
    assert await router_commits_between_claims_snapshot_and_lock(connect, "claim_in_one_statement") == 1


async def claim_while_a_router_is_open(connect: Connect, naive: str | None) -> int:
    """Order 1: the lane is due already, the router commits after the claim. Returns what is never found."""
    claimer, router = await connect(), await connect()
    org = await one_lane(router)
    if naive:
        await load_naive(router, naive)
        await router.execute("set test.waking = 'on'")
    await publish_ready(router, org)
    await router.begin()
    assert await route_shards(router) == 1
    await claim(claimer)
    await router.commit()
    while await claim_any(claimer):
        pass
    return await unserved(router)


async def route_while_a_claim_is_open(connect: Connect, naive: str | None) -> int:
    """Order 2: the claim that puts the host to sleep commits after the router has looked at it."""
    claimer, router = await connect(), await connect()
    org = await one_lane(router)
    if naive:
        await load_naive(router, naive)
        await router.execute("set test.waking = 'on'")
    await publish_ready(router, org)
    await claimer.begin()
    assert len(await claim(claimer)) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(route, router)
        if not naive:
            await router.wait_blocked(by=claimer)
            await claimer.commit()
    if naive:
        await claimer.commit()
    while await claim_any(claimer):
        pass
    return await unserved(router)


@pytest.mark.parametrize("order", [claim_while_a_router_is_open, route_while_a_claim_is_open])
async def test_a_wake_up_is_not_lost(
    connect: Connect, order: Callable[[Connect, str | None], Awaitable[int]]
) -> None:
    assert await order(connect, None) == 0


@pytest.mark.parametrize("order", [claim_while_a_router_is_open, route_while_a_claim_is_open])
async def test_naive_wake_up_of_sleepers_only_is_lost(
    connect: Connect, order: Callable[[Connect, str | None], Awaitable[int]]
) -> None:
    assert await order(connect, "wake_only_sleepers") == 1


async def test_a_result_that_makes_room_waits_for_the_claim_that_found_none(connect: Connect) -> None:
    claimer, recorder = await connect(), await connect()
    org = await one_lane(claimer)
    await claimer.execute("update hookd.host set max_in_flight = 1")
    await publish_ready(claimer, org, 2)
    await route_all(claimer)
    (first,) = await claim(claimer)
    assert await claim_any(claimer) == []
    await recorder.begin()
    await record(recorder, [result(first)])
    assert await claim_any(claimer) == [], "the host is locked by the recorder"
    await recorder.commit()
    assert len(await claim(claimer)) == 1


async def test_resume_waits_for_the_claim_under_way_and_wakes_the_host(connect: Connect) -> None:
    claimer, api = await connect(), await connect()
    org = await one_lane(claimer)
    paused = await register(api, org, events=["u"])
    await prove(api)
    await publish_ready(api, org, 1, "u")
    await route_all(api)
    assert await api.fetchval("select hookd.set_active($1, false, 'paused')", paused)
    await claimer.begin()
    got = await claim(claimer)
    assert len(got) == 2 and paused not in {one.subscription_id for one in got}, "what it is owed is held"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.fetchval, "select hookd.set_active($1, true, null)", paused)
        await api.wait_blocked(by=claimer)
        await claimer.commit()
    got = await claim(claimer)
    assert [one.subscription_id for one in got] == [paused]


async def opposite_orders(connect: Connect) -> None:
    """Two sessions lock hosts that they meet in opposite orders, while a third has the one in the middle."""
    up, down, middle = await connect(), await connect(), await connect()
    await middle.begin()
    await middle.fetchval("select hookd.lock_hosts(array[2])")

    async def lock(session: Session, hosts: list[int]) -> None:
        await session.begin()
        await session.fetchval("select hookd.lock_hosts($1)", hosts)
        await session.commit()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock, up, [1, 2, 3])
        await up.wait_blocked()
        nursery.start_soon(lock, down, [3, 2, 1])
        await down.wait_blocked()
        await middle.commit()


async def three_hosts(session: Session) -> None:
    await prepare(session)
    for name in ("a", "b", "c"):
        await register(session, uuid4(), host=name)
    assert [row[0] for row in await session.fetch("select id from hookd.host order by id")] == [1, 2, 3]


async def test_hosts_are_locked_in_one_order(connect: Connect) -> None:
    await three_hosts(await connect())
    await opposite_orders(connect)


async def test_naive_order_of_locks_deadlocks(connect: Connect) -> None:
    session = await connect()
    await three_hosts(session)
    await load_naive(session, "hosts_in_any_order")
    with pytest.raises(BaseExceptionGroup) as caught:
        await opposite_orders(connect)
    assert caught.group_contains(asyncpg.DeadlockDetectedError)


async def test_batches_with_the_same_keys_in_opposite_orders_do_not_deadlock(connect: Connect) -> None:
    up, down, middle = await connect(), await connect(), await connect()
    await prepare(middle)
    org = uuid4()

    async def batch(session: Session, keys: list[str]) -> list[UUID]:
        return list(
            await session.fetchval(
                "select hookd.publish_batch($1, array_fill('t'::text, array[3]),"
                " array_fill('{}'::jsonb, array[3]), $2)",
                org,
                keys,
            )
        )

    await middle.begin()
    await publish(middle, org, key="b")
    got: dict[str, list[UUID]] = {}

    async def run(name: str, session: Session, keys: list[str]) -> None:
        got[name] = await batch(session, keys)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "up", up, ["a", "b", "c"])
        await up.wait_blocked()
        nursery.start_soon(run, "down", down, ["c", "b", "a"])
        await down.wait_blocked()
        await middle.rollback()
    assert got["up"] == got["down"][::-1]


async def late_result(connect: Connect, naive: str | None) -> tuple[list[bool], int]:
    """A send outlives its lease; its delivery is reaped and claimed anew. Returns (counted, still owed)."""
    session = await connect()
    await one_lane(session)
    if naive:
        await load_naive(session, naive)
    (stale,) = await claim(session, lease=30)
    await advance(session, 31)
    (held,) = await expired(session)
    assert await record(session, [result(held, "interrupted")]) == [True]
    (fresh,) = await claim_any(session)
    assert (fresh.delivery_id, fresh.attempt) == (stale.delivery_id, 2)
    counted = await record(session, [result(stale)])
    owed = await session.fetchval("select count(*) from hookd.delivery where lease = $1", fresh.token)
    return counted, owed


async def test_a_result_counts_only_while_its_lease_holds(connect: Connect) -> None:
    assert await late_result(connect, None) == ([False], 1)
    session = await connect()
    rows = await session.fetch("select in_flight from hookd.host union all select in_flight from hookd.lane")
    assert [row[0] for row in rows] == [1, 1]


async def test_naive_record_without_fence_ends_its_successor(connect: Connect) -> None:
    assert await late_result(connect, "record_without_fence") == ([True], 0)


async def test_two_daemons_that_reap_one_lease_count_it_once(connect: Connect) -> None:
    one, two = await connect(), await connect()
    org = await one_lane(one)
    await publish_ready(one, org, 4)
    await route_all(one)
    assert len(await claim(one, lease=30)) == 5
    await advance(one, 31)
    seen = [await expired(one), await expired(two)]
    assert [len(held) for held in seen] == [5, 5]
    await one.begin()
    assert await record(one, [result(held, "interrupted") for held in seen[0]]) == [True] * 5
    counted: list[bool] = []

    async def second() -> None:
        counted.extend(await record(two, [result(held, "interrupted") for held in seen[1]]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await two.wait_blocked(by=one)
        await one.commit()
    assert counted == [False] * 5
    assert await one.fetchval("select in_flight from hookd.host") == 0
    assert await one.fetchval("select count(*) from hookd.attempt where error is null") == 5
    assert tuple(await one.fetchrow("select drifted, asleep from hookd.repair(0, 100)") or ()) == (0, 0)
    assert len(await claim_any(one)) == 5


async def test_naive_reaper_leaves_counters_that_repair_corrects(connect: Connect) -> None:
    session = await connect()
    org = await one_lane(session)
    await session.execute("update hookd.host set max_in_flight = 1")
    await publish_ready(session, org)
    await route_all(session)
    assert len(await claim(session, lease=30)) == 1
    await advance(session, 31)
    await load_naive(session, "reap_without_counters")
    await session.execute("select hookd.reap()")
    assert await claim_any(session) == [], "the host seems full for ever"
    row = await session.fetchrow("select drifted, asleep from hookd.repair(0, 100)")
    assert row is not None and tuple(row) == (2, 1)
    assert len(await claim_any(session)) == 1


async def test_what_a_lost_claim_leased_goes_back_unsent(connect: Connect) -> None:
    session = await connect()
    await one_lane(session)
    lost = uuid4()
    await claim(session, token=lost)  # committed, though its answer never came
    held = [Held(*row) for row in await session.fetch("select * from hookd.leased($1)", lost)]
    assert await record(session, [result(one, "unsent") for one in held]) == [True]
    (again,) = await claim_any(session)
    assert (again.delivery_id, again.attempt) == (held[0].delivery_id, 1), "it has not been attempted"
    assert await session.fetchval("select count(*) from hookd.attempt") == 0


async def test_a_lease_of_which_a_crash_took_results_keeps_what_is_left(connect: Connect) -> None:
    session = await connect()
    org = await one_lane(session)
    await publish_ready(session, org)
    await route_all(session)
    lost, kept = await claim(session, lease=30)  # Postgres loses the commit that recorded the first one
    assert await record(session, [result(kept)], done=True) == [True]
    await advance(session, 31)
    (held,) = await expired(session)
    assert held.delivery_id == lost.delivery_id
    assert await record(session, [result(held, "interrupted")]) == [True]
    assert await session.fetchval("select count(*) from hookd.lease") == 0
    assert [one.delivery_id for one in await claim_any(session)] == [lost.delivery_id]


async def test_recording_twice_counts_once(connect: Connect) -> None:
    session = await connect()
    org = await one_lane(session)
    await publish_ready(session, org)
    await route_all(session)
    first, second = await claim(session)
    batch = [result(first), result(second, "retry", delay=5.0, lane="answered_badly", status=500)]
    assert await record(session, batch) == [True, True]
    state = (
        "select (h.in_flight, l.in_flight, l.failure_count, l.window_size)::text"
        " from hookd.host h, hookd.lane l"
    )
    before = await session.fetchval(state)
    assert before.startswith("(0,0,1,")
    assert await record(session, batch) == [False, False]
    assert await record(session, [batch[1], batch[1]]) == [False, False]
    assert await session.fetchval(state) == before
    assert await session.fetchval("select count(*) from hookd.attempt") == 2


async def test_one_batch_with_a_result_twice_counts_it_once(connect: Connect) -> None:
    session = await connect()
    await one_lane(session)
    (held,) = await claim(session)
    again = result(held, "retry", delay=5.0, lane="answered_badly", status=500)
    assert sorted(await record(session, [again, again])) == [False, True]
    assert await session.fetchval("select failure_count from hookd.lane") == 1
    assert await session.fetchval("select in_flight from hookd.host") == 0


async def late_commit(connect: Connect, naive: str | None) -> int:
    """Events commit after later ones were routed. Returns how many of three are delivered in the end."""
    early, late = await connect(), await connect()
    await prepare(late)
    orgs = [uuid4() for _ in range(3)]
    for org in orgs:
        await register(late, org)
    if naive:
        await load_naive(late, naive)
    await early.begin()
    for org in orgs:
        await publish(early, org)
    for org in orgs:
        await publish(late, org)
        await publish_ready(late, org)
    for _ in orgs:
        await route(late)
    assert await late.fetchval("select count(*) from hookd.delivery") == 6
    await early.commit()
    for _ in orgs:
        await route(late)
    count: int = await late.fetchval("select count(*) from hookd.delivery")
    return count


async def test_an_event_that_commits_late_is_routed(connect: Connect) -> None:
    assert await late_commit(connect, None) == 9


async def test_naive_floor_passes_an_event_that_commits_late(connect: Connect) -> None:
    assert await late_commit(connect, "floor_at_last_routed") == 6


async def test_late_commits_far_below_many_routed_events(connect: Connect) -> None:
    """The publisher's id stays far below all floors while other shards and its own go on and empty."""
    early, late = await connect(), await connect()
    await prepare(late)
    orgs = [uuid4() for _ in range(40)]
    for org in orgs:
        await register(late, org)
    await early.begin()
    await publish(early, orgs[0])
    await early.execute("savepoint s")
    await publish(early, orgs[0])
    await early.execute("release savepoint s")
    for _ in range(3):
        for org in orgs:
            await publish_ready(late, org)
        await route_all(late)
    assert await late.fetchval("select count(*) from hookd.inbox") == 0
    await early.commit()
    await publish(late, orgs[0])
    await route_all(late)
    assert await late.fetchval("select count(*) from hookd.delivery") == 3 * 40 + 3


async def test_floors_of_another_cluster_do_not_hide_events(connect: Connect) -> None:
    """A dump that is restored elsewhere brings floors far above that server's transaction ids."""
    session = await connect()
    await prepare(session)
    org = uuid4()
    await register(session, org)
    await session.execute("update hookd.inbox_shard set floor = '4000000000'")
    await publish(session, org)
    passed = (
        "select pg_snapshot_xmin(pg_current_snapshot()) > max(i.xid)"
        " from hookd.inbox i, pg_current_xact_id() having true"
    )
    with trio.fail_after(20):  # transactions of other tests on this server count as well
        while not await session.fetchval(passed):  # noqa: ASYNC110
            await trio.sleep(0.002)
    await route_all(session)
    assert await session.fetchval("select count(*) from hookd.delivery") == 1


async def test_a_lane_that_proves_itself_while_it_is_routed_to_is_found(connect: Connect) -> None:
    """Proven and unproven lanes have floors of their own on the host: changing sides must not lose a lane."""
    session, other = await connect(), await connect()
    await prepare(session)
    org = uuid4()
    await register(session, org)
    await publish_ready(session, org, 3)
    await route_all(session)
    (probe,) = await claim(session, probe=True)
    await other.begin()
    await record(other, [result(probe)])
    await publish_ready(session, org)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(route, session)
        await session.wait_blocked(by=other)
        await other.commit()
    assert len(await claim(session)) == 2, "the window grew by one"
    times = await host_times(session)
    assert min(times) > 1e6, "the lane is full: only a result can wake its host"
