"""Organisations at one host: they take turns, and none has so much under way that the others find no room."""

from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest
import trio

from daemon.store.results import Held
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    claim,
    load_naive,
    prepare,
    prove,
    publish_ready,
    record,
    register,
    result,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]
CAP = 64


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def at_one_host(session: Session, lanes: int, *, max_in_flight: int = CAP, rate: float = 1e6) -> UUID:
    """Register so many proven subscriptions of a new organisation at the host that all share."""
    org = uuid4()
    for _ in range(lanes):
        await register(session, org, max_in_flight=max_in_flight, rate=rate, burst=rate)
    await prove(session)
    return org


async def owe(session: Session, *orgs: UUID, count: int = 1) -> None:
    """Publish `count` events of each organisation for all its subscriptions."""
    for org in orgs:
        await publish_ready(session, org, count)
    await route_all(session)


async def claimed(session: Session, *, probe: bool = False) -> Counter[UUID]:
    """Claim until nothing comes; return how much each organisation got."""
    got: Counter[UUID] = Counter()
    while held := await claim(session, probe=probe):
        got.update([await org_of(session, one) for one in held])
    return got


async def org_of(session: Session, held: Held) -> UUID:
    found: UUID = await session.fetchval(
        "select org_id from hookd.subscription where id = $1", held.subscription_id
    )
    return found


async def due_in(session: Session) -> float | None:
    """Return in how many seconds a claim may find work of proven lanes, None while only a result can help."""
    found: float | None = await session.fetchval("select ready from hookd.next_due()")
    return None if found is None else max(found, 0.0)


async def slow_and_newcomer(session: Session) -> tuple[int, int]:
    """Return what an organisation with much gets of a host, and what the one that comes then gets at once."""
    slow, newcomer = await at_one_host(session, 100), await at_one_host(session, 1)
    await owe(session, slow)
    first = await claimed(session)
    await owe(session, newcomer, count=3)
    then = await claimed(session)
    return first[slow], then[newcomer]


async def test_an_organisation_leaves_half_of_a_shared_host_to_whoever_comes(session: Session) -> None:
    assert await slow_and_newcomer(session) == (CAP // 2, 3)


async def test_naive_turns_of_lanes_alone_leave_nothing(session: Session) -> None:
    await load_naive(session, "shares_of_any_size")
    assert await slow_and_newcomer(session) == (CAP, 0)


async def test_lanes_that_have_to_prove_themselves_leave_room_too(session: Session) -> None:
    slow, newcomer = await at_one_host(session, 100), await at_one_host(session, 1)
    await session.execute("update hookd.lane set proven = false")
    await owe(session, slow)
    assert await claimed(session, probe=True) == {slow: CAP // 2}
    await owe(session, newcomer)
    assert await claimed(session, probe=True) == {newcomer: 1}


async def test_several_slow_ones_together_leave_room(session: Session) -> None:
    slow = [await at_one_host(session, 100) for _ in range(3)]
    newcomer = await at_one_host(session, 1)
    await owe(session, *slow)
    got = await claimed(session)
    assert set(got) == set(slow)
    assert max(got.values()) - min(got.values()) <= 2, got
    await owe(session, newcomer)
    assert await claimed(session) == {newcomer: 1}


async def test_what_is_under_way_decides_and_not_who_came_first(session: Session) -> None:
    """One that had half gets no more until the other, whose requests end, has as many under way."""
    first, second = await at_one_host(session, 200), await at_one_host(session, 200)
    await owe(session, first)
    assert await claimed(session) == {first: 32}
    await owe(session, second)
    assert await claimed(session) == {second: 16}
    assert await due_in(session) is None, "what may not go costs claims nothing"


async def test_a_result_makes_room(session: Session) -> None:
    first, second = await at_one_host(session, 200), await at_one_host(session, 1)
    await owe(session, second)
    (others,) = await claim(session)
    await owe(session, first)
    held = await claim(session)
    assert len(held) == 32
    assert await due_in(session) is None
    await record(session, [result(others)])
    assert await due_in(session) is None, "32 are under way and 32 free"
    await record(session, [result(held[0])], done=False)
    assert await due_in(session) == 0.0


async def test_a_host_of_one_organisation_is_all_its_own(session: Session) -> None:
    alone = await at_one_host(session, 100)
    await owe(session, alone)
    assert await claimed(session) == {alone: CAP}


async def test_whoever_stays_alone_gets_the_rest_at_once(session: Session) -> None:
    stays, leaves = await at_one_host(session, 100), await at_one_host(session, 1)
    await owe(session, stays)
    assert await claimed(session) == {stays: 32}
    assert await due_in(session) is None
    (gone,) = await session.fetch("select id from hookd.subscription where org_id = $1", leaves)
    assert await session.fetchval(STATEMENTS["remove"], leaves, gone[0], None) == "removed"
    assert await due_in(session) == 0.0
    assert await claimed(session) == {stays: 32}


@pytest.mark.parametrize("max_in_flight", [1, 2, 3])
async def test_few_requests_at_once_go_by_turns(session: Session, max_in_flight: int) -> None:
    orgs = [
        await at_one_host(session, 20, max_in_flight=max_in_flight),
        await at_one_host(session, 1, max_in_flight=max_in_flight),
    ]
    await owe(session, *orgs, count=10)
    served: Counter[UUID] = Counter()
    for _ in range(20):
        await advance(session, 0.01)
        held = await claim(session)
        served.update([await org_of(session, one) for one in held])
        await record(session, [result(one) for one in held])
    assert served[orgs[1]] == 10


async def test_turns_go_by_organisation_first(session: Session) -> None:
    """At one request a second, fifty lanes of one organisation get as much as the one of another."""
    many, few = [await at_one_host(session, lanes, rate=1.0) for lanes in (50, 1)]
    await owe(session, many, few, count=20)
    served: Counter[UUID] = Counter()
    for _ in range(20):
        held = await claim(session)
        served.update([await org_of(session, one) for one in held])
        await record(session, [result(one) for one in held])
        await advance(session, 1)
    assert abs(served[many] - served[few]) <= 2


async def test_two_that_come_at_once_share_the_host(connect: Connect, session: Session) -> None:
    one, other = await connect(), await connect()
    (gone,) = await session.fetch(
        "select id from hookd.subscription where id = $1", await register(session, uuid4())
    )
    org = await session.fetchval("select org_id from hookd.subscription")
    await session.fetchval(STATEMENTS["remove"], org, gone[0], None)
    await one.begin()
    await register(one, uuid4())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(register, other, uuid4())
        await other.wait_blocked(by=one)
        await one.commit()
    assert await session.fetchval("select count(*) from hookd.host_share") == 2
    assert await session.fetchval("select owner is null from hookd.host")


async def test_a_share_is_counted_from_what_is_under_way(session: Session) -> None:
    """An organisation comes to a host at which another, until then alone, has all under way."""
    slow = await at_one_host(session, 100)
    await owe(session, slow)
    held = await claim(session)
    assert len(held) == CAP
    newcomer = await at_one_host(session, 1)
    assert await session.fetchval("select in_flight from hookd.host_share where org_id = $1", slow) == CAP
    await owe(session, newcomer)
    await record(session, [result(one) for one in held[:2]], done=False)
    assert await claimed(session) == {newcomer: 1}
    assert tuple(await session.fetchrow("select drifted, asleep from hookd.repair(0, 10)") or ()) == (0, 0)


async def test_repair_corrects_shares(session: Session) -> None:
    orgs = [await at_one_host(session, 3), await at_one_host(session, 2)]
    await owe(session, *orgs, count=5)
    assert await claimed(session) == {orgs[0]: 15, orgs[1]: 10}
    await owe(session, *orgs)
    for damage in (
        "update hookd.host_share set in_flight = 40",
        "update hookd.host_share set lanes = 7",
        "update hookd.host_share set ready_at = 'infinity'",
        "update hookd.host_share set ready_floor = hookd.clock() + interval '1 hour'",
        "delete from hookd.host_share where org_id = (select min(org_id::text)::uuid from hookd.host_share)",
        "update hookd.host set owner = (select min(org_id::text)::uuid from hookd.host_share)",
    ):
        sound = await session.fetch("select org_id, lanes, in_flight from hookd.host_share order by 1")
        await session.execute(damage)
        await session.execute("update hookd.host set ready_at = 'infinity'")
        await session.fetchrow("select * from hookd.repair(0, 10)")
        assert (
            await session.fetch("select org_id, lanes, in_flight from hookd.host_share order by 1") == sound
        ), damage
        assert await session.fetchval("select owner is null from hookd.host")
        assert await due_in(session) == 0.0, damage
        assert await session.fetchval("select hookd.suspects('{1}', hookd.clock())") is None, damage
    assert len(await claim(session)) == 5
