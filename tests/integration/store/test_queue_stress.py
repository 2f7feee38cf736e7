"""Everything at once from several sessions: no deadlock, nothing twice, nothing lost, counters right."""

import random
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio

from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    claim,
    claim_any,
    expired,
    load_naive,
    prepare,
    publish,
    publish_ready,
    record,
    register,
    result,
    route,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]
ROUNDS = 40
ORPHANS = """
select a.subscription_id from hookd.attempt a
where not exists (select from hookd.subscription s where s.id = a.subscription_id)
"""
MOVE = """
select hookd.change($1, $2, null, '{url,rate_limit,ordered}', 'https://x/', $3, 1e5, 1e5, 50, null, null,
    null, null, null, null, null, $4, $5, null)
"""


async def again(unit: Callable[[], Awaitable[object]]) -> None:
    """Run a unit, again where it asks for that; a deadlock is an error."""
    while True:
        try:
            await unit()
        except asyncpg.SerializationError:
            continue
        return


async def everything_at_once(connect: Connect, session: Session) -> list[UUID]:
    """Run all parts of the queue side by side, a bounded number of rounds each; return what was published."""
    orgs = [uuid4() for _ in range(6)]
    lanes = [
        await register(session, orgs[n % 6], host=f"h{n % 5}", max_in_flight=[3, 1000][n % 2], rate=1e5)
        for n in range(30)
    ]
    events: list[UUID] = []
    dice = random.Random(7)

    async def publisher(own: Session) -> None:
        for _ in range(ROUNDS):
            events.extend(await publish_ready(own, dice.choice(orgs), 5))
            events.append(await publish(own, dice.choice(orgs), key=str(uuid4())))

    async def router(own: Session) -> None:
        for _ in range(ROUNDS):
            await again(lambda: route(own, 500, dice.choice([3, 50, 1000]), shards=dice.choice([1, 8])))

    async def worker(own: Session, probe: bool) -> None:
        for _ in range(ROUNDS):
            held = await claim(own, batch=40, hosts=20, lease=dice.choice([0.001, 60]), probe=probe)
            results = [
                result(one)
                if dice.random() < 0.6
                else result(one, "retry", delay=0.0, lane="unanswered", host_failed=dice.random() < 0.2)
                for one in held
            ]
            dice.shuffle(results)
            if results:
                await again(lambda: record(own, results))  # noqa: B023

    async def sweeper(own: Session) -> None:
        for _ in range(ROUNDS):
            await advance(own, 0.01)
            held = await expired(own)
            if held:
                await again(lambda: record(own, [result(one, "interrupted") for one in held]))  # noqa: B023
            await again(lambda: own.fetch(STATEMENTS["repair"], 0, 200))

    async def switcher(own: Session) -> None:
        for _ in range(ROUNDS):
            lane, active = dice.choice(lanes), dice.random() < 0.6
            await again(lambda: own.fetchval("select hookd.set_active($1, $2, 'asked')", lane, active))  # noqa: B023
            names = [f"h{n}" for n in dice.sample(range(5), 5)]
            await again(
                lambda: own.execute(STATEMENTS["limit_hosts"], names, [1e5] * 5, [1e5] * 5, [50] * 5)  # noqa: B023
            )

    async def mover(own: Session) -> None:
        for _ in range(ROUNDS):
            number = dice.randrange(30)
            host, ordered = f"h{dice.randrange(5)}", dice.random() < 0.3
            pace = dice.choice([None, 1e4])
            await again(lambda: own.fetchval(MOVE, orgs[number % 6], lanes[number], host, pace, ordered))  # noqa: B023

    async def remover(own: Session) -> None:
        for _ in range(ROUNDS):
            org = dice.choice(orgs)
            mine = await register(own, org, host=f"h{dice.randrange(5)}")
            await own.fetchval("select hookd.purge(10)")
            await again(lambda: own.fetchval("select hookd.remove($1, $2)", org, mine))  # noqa: B023

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for part in (publisher, publisher, router, router, sweeper, switcher, mover, remover):
                nursery.start_soon(part, await connect())
            for probe in (False, False, True, True):
                nursery.start_soon(worker, await connect(), probe)
    for lane in lanes:
        await session.fetchval("select hookd.set_active($1, true, null)", lane)
    await session.execute("update hookd.lane set rate = null")
    await route_all(session)
    return events


async def drain(session: Session) -> int:
    """Deliver all that is owed, as time goes by; return what is left."""
    for _ in range(200):
        await advance(session, 61)
        held = await expired(session)
        await record(session, [result(one, "interrupted") for one in held])
        got = await claim_any(session)
        await record(session, [result(one) for one in got])
        if not got and not held and not await session.fetchval("select count(*) from hookd.delivery"):
            break
    left: int = await session.fetchval("select count(*) from hookd.delivery")
    return left


async def test_everything_at_once_ends_well(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    events = await everything_at_once(connect, session)
    row = await session.fetchrow("select sum(drifted)::int, count(*)::int from hookd.repair(0, 200)")
    assert row is not None and tuple(row) == (0, 1), "counters drifted"
    assert await drain(session) == 0
    assert await session.fetchval("select count(*) from hookd.inbox") == 0
    await advance(session, 120)
    while await session.fetchval("select hookd.purge(1000)"):
        pass
    assert await session.fetchval("select count(*) from hookd.subscription") == 30
    assert await session.fetchval("select count(*) from hookd.removal") == 0
    assert await session.fetch(ORPHANS) == []
    twice = (
        "select event_id, subscription_id from hookd.attempt"
        " where succeeded group by 1, 2 having count(*) > 1"
    )
    assert await session.fetch(twice) == []
    assert await session.fetchval("select sum(in_flight) from hookd.host") == 0
    assert await session.fetchval("select count(*) from hookd.lease") == 0
    delivered = await session.fetchval("select count(distinct event_id) from hookd.attempt where succeeded")
    assert delivered >= 0.9 * len(events)


async def test_naive_order_of_locks_does_not_survive_it(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    await load_naive(session, "hosts_as_shuffled")
    with pytest.raises(BaseExceptionGroup) as caught:
        await everything_at_once(connect, session)
    assert caught.group_contains(asyncpg.DeadlockDetectedError)
