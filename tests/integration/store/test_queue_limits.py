"""What holds deliveries back, and for whom: rate, limit, circuit, Retry-After, pause; and who goes first."""

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from daemon.model import LaneEffect
from daemon.store.routing import NO_CLAIM
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    claim,
    claim_any,
    load_naive,
    prepare,
    prove,
    publish_ready,
    record,
    register,
    result,
    route,
    route_all,
    unserved,
)

Connect = Callable[[], Awaitable[Session]]


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def owe(session: Session, org: UUID, count: int) -> None:
    """Publish `count` events of an organisation and route them."""
    await publish_ready(session, org, count)
    await route_all(session)


async def next_due(session: Session) -> tuple[float | None, float | None]:
    """Return in how many seconds a claim may find work of proven and of other lanes."""
    row = await session.fetchrow("select * from hookd.next_due()")
    assert row is not None
    return row["ready"], row["probe"]


async def test_lanes_of_a_host_take_turns_whatever_their_backlogs(session: Session) -> None:
    orgs = [uuid4() for _ in range(4)]
    lanes = [await register(session, org) for org in orgs]
    await prove(session)
    await owe(session, orgs[0], 300)
    for org in orgs[1:]:
        await owe(session, org, 70)
    served: Counter[UUID] = Counter()
    for _ in range(40):
        await advance(session, 0.01)
        served.update(one.subscription_id for one in await claim(session, batch=6))
    counts = [served[lane] for lane in lanes]
    assert max(counts) - min(counts) <= 10, counts


async def test_more_lanes_than_room_are_served_in_turn(session: Session) -> None:
    org = uuid4()
    lanes = {await register(session, org) for _ in range(7)}
    await prove(session)
    await owe(session, org, 20)
    served: Counter[UUID] = Counter()
    for _ in range(7):
        await advance(session, 0.01)
        served.update(one.subscription_id for one in await claim(session, batch=3))
    assert served == Counter(dict.fromkeys(lanes, 3))


async def test_hosts_take_turns_when_the_batch_does_not_divide(session: Session) -> None:
    """Shares are rounded up, so the last hosts of a claim get less: not the same ones each time."""
    org = uuid4()
    for number in range(6):
        await register(session, org, host=f"h{number}")
    await prove(session)
    await owe(session, org, 60)
    served: Counter[int] = Counter()
    for _ in range(12):
        await advance(session, 0.01)
        got = await claim(session, batch=13, hosts=6)
        assert len(got) == 13
        served.update(one.host_id for one in got)
    assert min(served.values()) >= 20 and len(served) == 6, sorted(served.values())


async def test_organisations_take_turns_at_routing(session: Session) -> None:
    """The shard that waited longest comes next, so a burst delays others by one round, not by its length."""
    orgs = [uuid4() for _ in range(12)]
    for org in orgs:
        await register(session, org)
    shards = {org: await session.fetchval("select uuid_hash($1) & 31", org) for org in orgs}
    giant, small = orgs[0], next(org for org in orgs if shards[org] != shards[orgs[0]])
    await publish_ready(session, giant, 400)
    await publish_ready(session, small, 1)
    await advance(session, 1)
    for _ in range(2):
        await route(session, 50)
    rows = await session.fetch(
        "select s.org_id, count(*) from hookd.delivery d"
        " join hookd.subscription s on s.id = d.subscription_id group by 1"
    )
    assert {row[0]: row[1] for row in rows} == {giant: 50, small: 1}


async def test_rate_is_never_exceeded_by_two_claimers(connect: Connect, session: Session) -> None:
    other, org = await connect(), uuid4()
    await register(session, org, rate=10.0, burst=5.0)
    await prove(session)
    await owe(session, org, 400)
    taken, elapsed = 0, 0.0
    for step in [0.0, 0.05, 0.05, 0.31, 0.0, 1.7, 0.099, 0.001, 30.0, 0.0, 0.1]:
        await advance(session, step)
        elapsed += step
        for claimer in (session, other, session):
            taken += len(await claim(claimer))
        assert taken <= 10 * elapsed + 5
    assert taken >= 20, "and yet it is used"
    ready, _ = await next_due(session)
    assert ready is not None and 0 < ready <= 0.1, "the host wakes for its next token"


async def test_a_clock_read_before_the_lock_gives_no_tokens_twice(connect: Connect, session: Session) -> None:
    """Claims that overlap may lock the host in another order than that of the times they read."""
    org = uuid4()
    for _ in range(2):
        await register(session, org, rate=10.0, burst=10.0)
    await prove(session)
    await owe(session, org, 100)
    assert len(await claim(session)) == 10
    taken = 0
    for step, batch in ((0.5, 1), (-0.4, 1), (0.4, 500), (0.0, 500)):
        await advance(session, step)
        taken += len(await claim(session, batch=batch))
    assert taken <= 5


async def test_two_claimers_never_exceed_the_cap_and_a_result_makes_room(
    connect: Connect, session: Session
) -> None:
    other, org = await connect(), uuid4()
    await register(session, org, max_in_flight=3)
    await prove(session)
    await owe(session, org, 10)
    got = [*await claim(session, batch=2), *await claim(other, batch=2)]
    assert len(got) == 3
    assert await next_due(session) == (None, None), "a full host costs claims nothing"
    await record(other, [result(got[0])])
    assert len(await claim(session)) == 1


async def test_higher_limits_wake_a_host_at_once(session: Session) -> None:
    org = uuid4()
    await register(session, org, rate=0.001, burst=1.0, max_in_flight=1)
    await prove(session)
    await owe(session, org, 3)
    (first,) = await claim(session)
    raise_limits = STATEMENTS["limit_hosts"], ["one.example:443"]
    await session.execute(*raise_limits, [0.001], [1.0], [10])
    assert (await next_due(session))[0] is not None, (
        "the max_in_flight was raised: the host is not full any more"
    )
    await session.execute(*raise_limits, [1000.0], [1000.0], [10])
    await record(session, [result(first)])
    await advance(session, 1)
    assert len(await claim(session)) == 2
    assert tuple(await session.fetchrow("select drifted, asleep from hookd.repair(0, 10)") or ()) == (0, 0)


async def test_a_new_rate_does_not_count_for_the_time_before_it(session: Session) -> None:
    org = uuid4()
    await register(session, org, rate=1.0, burst=100.0)
    await prove(session)
    await session.execute("update hookd.host set tokens = 0")
    await advance(session, 10)
    await session.execute(STATEMENTS["limit_hosts"], ["one.example:443"], [50.0], [100.0], [1000])
    await owe(session, org, 100)
    assert len(await claim(session)) == 10


async def fail_to_connect(session: Session, times: int) -> None:
    for _ in range(times):
        (held,) = await claim(session, batch=1) or await claim(session, batch=1, probe=True)
        await record(session, [result(held, "retry", delay=0.0, host_failed=True, error="connect_refused")])
        await advance(session, 0.01)


async def test_a_half_open_circuit_lets_exactly_one_probe_through(connect: Connect, session: Session) -> None:
    other, orgs = await connect(), [uuid4(), uuid4()]
    for org in orgs:
        await register(session, org)
    await session.execute(
        "update hookd.lane set window_size = 100,"
        " proven = (subscription_id = (select min(subscription_id::text)::uuid from hookd.lane))"
    )
    for org in orgs:
        await owe(session, org, 20)
    await fail_to_connect(session, 4)
    early = await claim(session, batch=2)
    assert len(early) == 2
    await fail_to_connect(session, 1)
    assert await claim_any(session) == []
    assert await next_due(session) == (None, None), "what was sent before it opened is still under way"
    failed = [result(one, "retry", delay=0.0, host_failed=True) for one in early]
    await record(session, failed)
    assert await session.fetchval("select circuit_trips from hookd.host") == 1, "they say nothing new"
    _, probe = await next_due(session)
    assert probe is not None and 0.39 <= probe <= 0.6
    await advance(session, probe)
    (one,) = [*await claim_any(session), *await claim_any(other)]
    assert await next_due(session) == (None, None), "the probe under way decides"
    await record(session, [result(one, "retry", delay=0.0, host_failed=True)])
    _, probe = await next_due(session)
    assert probe is not None and 0.63 <= probe <= 0.97, "the next block is longer"
    await advance(session, probe)
    (one,) = await claim_any(session)
    await record(session, [result(one)])
    assert len(await claim_any(session)) > 10


async def test_a_probe_that_tells_nothing_is_tried_again(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await prove(session)
    await owe(session, org, 3)
    await fail_to_connect(session, 5)
    await advance(session, 6)
    (probe,) = await claim_any(session)
    await record(session, [result(probe, "unsent")])
    assert len(await claim_any(session)) == 1


async def test_retry_after_holds_one_lane_and_not_the_host(session: Session) -> None:
    orgs = [uuid4(), uuid4()]
    lanes = [await register(session, org) for org in orgs]
    await prove(session)
    for org in orgs:
        await owe(session, org, 1)
    got = {one.subscription_id: one for one in await claim(session, batch=2)}
    busy = result(
        got[lanes[0]], "retry", delay=30.0, hold=30.0, lane="answered_badly", host_failed=False, status=429
    )
    await record(session, [busy, result(got[lanes[1]])])
    for org in orgs:
        await owe(session, org, 1)
    assert {one.subscription_id for one in await claim_any(session)} == {lanes[1]}
    ready, probe = await next_due(session)
    assert (ready, probe) == (30.0, None)
    await advance(session, 30)
    assert [one.subscription_id for one in await claim_any(session)] == [lanes[0]] * 2, "and no fewer at once"


async def test_gone_switches_off_and_holds_what_is_owed_until_resumed(session: Session) -> None:
    org = uuid4()
    lane = await register(session, org)
    await prove(session)
    await owe(session, org, 3)
    first, second = await claim(session, batch=2)
    await record(
        session,
        [result(first, "given_up", reason="gone", lane="answered_well", host_failed=False, status=410)],
    )
    row = await session.fetchrow("select is_active, disabled_reason, revision from hookd.subscription")
    assert row is not None and tuple(row) == (False, "gone", 2)
    await record(session, [result(second, "retry", delay=0.0, lane="answered_badly", host_failed=False)])
    await owe(session, org, 1)
    assert await session.fetchval("select count(*) from hookd.delivery") == 2, "nothing new is routed to it"
    await advance(session, 100)
    assert await claim_any(session) == []
    assert await session.fetchval("select hookd.set_active($1, true, null)", lane)
    await owe(session, org, 1)
    held = await claim_any(session)
    await record(session, [result(one) for one in held])
    assert len(held) + len(await claim_any(session)) == 3
    assert await session.fetchval("select is_active and disabled_reason is null from hookd.subscription")


async def test_a_success_that_came_late_is_no_answer_in_time_to_its_lane(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await prove(session)
    await owe(session, org, 2)
    held = await claim_any(session)
    await record(session, [result(one, lane=LaneEffect.UNANSWERED, duration=15_000.0) for one in held])
    assert not await session.fetchval("select proven from hookd.lane")


async def test_nothing_but_failures_for_long_switches_off(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await prove(session)
    await owe(session, org, 4)

    async def fail() -> bool:
        (held,) = await claim_any(session, batch=1)
        await record(session, [result(held, "retry", delay=0.0, lane="answered_badly", host_failed=False)])
        return bool(await session.fetchval("select is_active from hookd.subscription"))

    assert await fail()
    await advance(session, 432_000 - 1)
    assert await fail()
    (held,) = await claim_any(session, batch=1)
    await record(session, [result(held)])
    await advance(session, 2)
    assert await fail(), "a success in between begins the count anew"
    await advance(session, 432_000)
    await session.fetch("select hookd.make_partitions(hookd.clock(), hookd.clock())")
    assert not await fail()
    assert await session.fetchval("select disabled_reason from hookd.subscription") == "failing"
    assert await session.fetchval("select failure_count from hookd.lane") == 2
    assert await claim_any(session) == [] and await unserved(session) == 3


async def test_pause_and_resume_keep_counters_while_requests_are_under_way(session: Session) -> None:
    org = uuid4()
    lane = await register(session, org)
    await prove(session)
    await owe(session, org, 3)
    (held,) = await claim(session, batch=1)
    assert await session.fetchval("select hookd.set_active($1, false, 'asked')", lane)
    assert await session.fetchval("select hookd.set_active($1, false, 'asked')", lane)
    await record(session, [result(held)])
    assert await next_due(session) == (None, None)
    assert await session.fetchval("select hookd.set_active($1, true, null)", lane)
    assert len(await claim_any(session)) == 2
    assert not await session.fetchval("select hookd.set_active($1, true, null)", uuid4())


@pytest.mark.parametrize(
    "patterns",
    [
        ["*", "placement.*"],
        ["placement.*", "placement.created"],
        ["a.*", "a.b.*", "a.b.c", "*"],
        ["placement.created"] * 2,
    ],
)
async def test_patterns_that_overlap_deliver_once(session: Session, patterns: list[str]) -> None:
    org = uuid4()
    await register(session, org, events=patterns)
    await publish_ready(session, org, 1, "placement.created")
    await publish_ready(session, org, 1, "a.b.c")
    await route_all(session)
    rows = await session.fetch("select count(*) from hookd.delivery group by event_id")
    assert rows and all(row[0] == 1 for row in rows)


async def test_a_prefix_ends_at_a_dot(session: Session) -> None:
    org = uuid4()
    await register(session, org, events=["placement.*"])
    for type_ in ("placement", "placements.created", "placement.created", "placement.a.b"):
        await publish_ready(session, org, 1, type_)
    await publish_ready(session, uuid4(), 1, "placement.created")
    await route_all(session)
    assert await session.fetchval("select count(*) from hookd.delivery") == 2


async def test_a_wide_event_goes_out_in_slices_each_once(session: Session) -> None:
    org = uuid4()
    await session.execute(WIDE.format(org=org))
    (event,) = await publish_ready(session, org)
    others = await publish_ready(session, org)
    sizes = [0]
    while await route(session, 500, 1000) is not None:
        sizes.append(await session.fetchval("select count(*) from hookd.delivery"))
    assert max(after - before for before, after in pairwise(sizes)) <= 1000
    for one in (event, *others):
        row = await session.fetchrow(
            "select count(*), count(distinct subscription_id) from hookd.delivery where event_id = $1", one
        )
        assert row is not None and tuple(row) == (10_000, 10_000)


async def test_a_slice_locks_only_its_own_hosts(connect: Connect, session: Session) -> None:
    org, other = uuid4(), await connect()
    for number in range(4):
        await register(session, org, host=f"h{number}")
    await publish_ready(session, org)
    await session.begin()
    await session.fetch(STATEMENTS["open_shards"], 500, 1, None)
    shard = await session.fetchval("select shard from hookd.inbox")
    await session.fetchval(STATEMENTS["route"], [shard], 500, 2, [], [], [], [], *NO_CLAIM.arguments)
    free = await other.fetch("select id from hookd.host for no key update skip locked")
    assert len(free) == 2
    await session.commit()


async def test_naive_wide_fan_out_holds_all_hosts_at_once(connect: Connect, session: Session) -> None:
    org, other = uuid4(), await connect()
    for number in range(4):
        await register(session, org, host=f"h{number}")
    await load_naive(session, "route_without_slices")
    await publish_ready(session, org)
    await session.begin()
    await session.fetch(STATEMENTS["open_shards"], 500, 1, None)
    shard = await session.fetchval("select shard from hookd.inbox")
    await session.fetchval(STATEMENTS["route"], [shard], 500, 2, [], [], [], [], *NO_CLAIM.arguments)
    assert await other.fetch("select id from hookd.host for no key update skip locked") == []
    await session.rollback()


async def test_a_wide_unrepresentable_event_ends_once_for_each(session: Session) -> None:
    org = uuid4()
    await session.execute(WIDE.format(org=org))
    event = await session.fetchval("select hookd.publish($1, 't', '1e400')", org)
    await publish_ready(session, org)
    rounds = await route_all(session, problems={event: "a number beyond a double"})
    assert rounds >= 20
    row = await session.fetchrow(
        "select count(*), count(distinct subscription_id), bool_and(ended = 'unrepresentable')"
        " from hookd.attempt"
    )
    assert row is not None and tuple(row) == (10_000, 10_000, True)
    assert await session.fetchval("select count(*) from hookd.delivery") == 10_000
    assert await session.fetchval("select problem from hookd.event where id = $1", event)


WIDE = """
insert into hookd.host (name, rate, burst, max_in_flight, tokens, refilled_at)
select 'w' || n, 1e6, 1e6, 100, 1e6, hookd.clock() from generate_series(1, 50) n;
with s as (insert into hookd.subscription (id, org_id, url, events, created_at)
    select hookd.uuid7(hookd.clock()), '{org}', 'https://w/', '{{*}}', hookd.clock()
    from generate_series(1, 10000)
    returning id),
i as (insert into hookd.interest (org_id, pattern, subscription_id) select '{org}', '*', id from s)
insert into hookd.lane (subscription_id, org_id, host_id)
select id, '{org}', 1 + (row_number() over ()) % 50 from s;
select hookd.join_host(x.host_id, x.org_id, x.lanes)
from (select host_id, org_id, count(*)::integer as lanes from hookd.lane group by 1, 2) x;
"""
