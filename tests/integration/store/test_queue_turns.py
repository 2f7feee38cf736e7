"""Organisations take turns at routing, also those whose events lie in one shard of the inbox."""

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from daemon.store.queue import ClaimRequest
from daemon.store.routing import NO_CLAIM, READY_WIDTH
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    burst,
    of_many_shards,
    of_one_shard,
    prepare,
    prove,
    publish,
    publish_ready,
    register,
    route,
    route_all,
    waiting,
)

Connect = Callable[[], Awaitable[Session]]


async def routed(session: Session, org: UUID) -> list[UUID]:
    """Return its events in the order in which its lane sends them."""
    return [
        row["event_id"]
        for row in await session.fetch(
            "select d.event_id from hookd.delivery d join hookd.subscription s on s.id = d.subscription_id"
            " where s.org_id = $1 order by d.due, d.event_id",
            org,
        )
    ]


@pytest.mark.parametrize("ready", [True, False], ids=["rest", "sql"])
async def test_an_event_behind_a_burst_is_routed_in_the_next_turn_but_one(
    connect: Connect, ready: bool
) -> None:
    session = await connect()
    await prepare(session)
    busy, other = await of_one_shard(session, 2)
    await burst(session, busy, 2000)
    for _ in range(3):
        await route(session, limit=50)
        if ready:
            await publish_ready(session, other)
        else:
            await publish(session, other)
        for _ in range(2):
            await route(session, limit=50)
        assert await waiting(session, other) == 0
    assert await waiting(session, busy) >= 2000 - 9 * 50
    await route_all(session, limit=500)
    assert len(await routed(session, busy)) == 2000


async def test_several_bursts_take_turns_with_the_rest(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    *busy, other = await of_one_shard(session, 4)
    for _ in range(10):
        for org in busy:
            await burst(session, org, 30)
    for _ in range(8):  # so long may each of the three hide behind another
        await route(session, limit=20)
    await publish(session, other)
    for _ in range(2):
        await route(session, limit=20)
    assert await waiting(session, other) == 0


async def test_a_wide_fan_out_lets_others_pass_between_its_slices(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    wide, other = await of_one_shard(session, 2)
    for _ in range(40):
        await register(session, wide)
    await publish(session, wide)
    await route(session, budget=5)
    await publish(session, other)
    for _ in range(2):
        await route(session, budget=5)
    assert await waiting(session, other) == 0
    assert await waiting(session, wide) == 1
    await route_all(session, budget=5)
    assert await session.fetchval("select count(*) from hookd.delivery") == 42


async def rounds(session: Session, *, bulk: bool | None, limit: int = 20) -> list[asyncpg.Record]:
    """Route until nothing is left for such a router; return the first row of each round."""
    found = []
    while rows := await session.fetch(
        STATEMENTS["route_ready"], limit, 8, 99, timedelta(seconds=1), bulk, *NO_CLAIM.arguments
    ):
        found.append(rows[0])
    return found


async def test_one_router_serves_bursts_and_the_other_all_the_rest(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    busy, other = await of_many_shards(session, 2)
    await publish_ready(session, busy, 70)
    assert await rounds(session, bulk=True) == [], "nobody knows yet that it is a burst"
    (first,) = await rounds(session, bulk=False)
    assert (first["events"], first["cut"], first["more"]) == (20, True, False)
    await publish_ready(session, other)
    assert [one["events"] for one in await rounds(session, bulk=False)] == [1]
    assert await waiting(session, busy) == 50
    assert [one["events"] for one in await rounds(session, bulk=True)] == [20, 20, 10]
    await publish_ready(session, busy)
    assert [one["events"] for one in await rounds(session, bulk=False)] == [1], "it is over"


async def test_whoever_comes_after_a_burst_is_alone_though_others_had_the_last_turn(
    connect: Connect,
) -> None:
    session = await connect()
    await prepare(session)
    busy, other = await of_one_shard(session, 2)
    await publish_ready(session, busy, 25)
    assert len(await rounds(session, bulk=False)) == 1
    await publish_ready(session, other)
    await session.execute("delete from hookd.inbox where org_id = $1", busy)  # the rest is the other's
    assert [one["events"] for one in await rounds(session, bulk=True)] == [1]
    await publish_ready(session, other)
    assert [one["events"] for one in await rounds(session, bulk=False)] == [1]


async def test_routing_tells_of_how_many_transactions_the_events_were(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    one, another = await of_many_shards(session, 2)
    await publish_ready(session, one, 5)
    await publish_ready(session, one, 3)
    await publish_ready(session, another)
    (row,) = await rounds(session, bulk=None)
    assert (row["events"], row["transactions"]) == (9, 3)


async def test_who_had_no_room_is_not_put_off_for_ever_by_those_who_have_more(connect: Connect) -> None:
    """Each round has room for one event of the eight organisations, which all go on publishing."""
    session = await connect()
    await prepare(session)
    orgs = await of_many_shards(session, 8)
    for org in orgs:
        await register(session, org)
    for _ in range(40):
        for org in orgs:
            if not await waiting(session, org):
                await publish_ready(session, org)
        await advance(session, 0.3)
        await route(session, budget=3, shards=8)
    counts = [len(await routed(session, org)) for org in orgs]
    assert max(counts) - min(counts) <= 4, counts


@pytest.mark.parametrize("ready", [True, False], ids=["rest", "sql"])
async def test_few_events_of_many_shards_are_one_transaction(connect: Connect, ready: bool) -> None:
    session = await connect()
    await prepare(session)
    orgs = await of_many_shards(session, 8)
    for org in orgs:
        await (publish_ready(session, org, 2) if ready else burst(session, org, 2))
    assert await route(session, shards=8) == 16
    assert await route(session, shards=8) is None
    for org in orgs:
        assert len(await routed(session, org)) == 2


async def test_shards_share_a_transaction_and_who_had_no_room_is_first_in_the_next(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    orgs = await of_many_shards(session, 8)
    for org in orgs:
        await publish_ready(session, org, 3)
    assert await route(session, limit=5, shards=8) == 5
    assert sorted([await waiting(session, org) for org in orgs]) == [0, 1] + [3] * 6
    late = [org for org in orgs if await waiting(session, org) == 3]
    await advance(session, 0.01)
    for _ in range(3):
        assert await route(session, limit=6, shards=8) == 6
        await advance(session, 0.01)
    assert [await waiting(session, org) for org in late] == [0] * 6
    await route_all(session, limit=5, shards=8)
    for org in orgs:
        assert len(await routed(session, org)) == 3


async def test_a_shard_that_had_no_room_for_its_last_events_is_no_burst(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    orgs = await of_many_shards(session, 4)
    for org in orgs:
        await publish_ready(session, org, 3)
    assert await route(session, limit=5, shards=8) == 5
    assert await session.fetchval("select count(*) from hookd.inbox_shard where bulk_orgs <> '{}'") == 0
    await advance(session, 0.01)
    assert await route(session, limit=50, shards=8) == 7


async def test_what_is_published_while_bodies_are_written_makes_no_burst(connect: Connect) -> None:
    session, late = await connect(), await connect()
    await prepare(session)
    org, *_ = await of_many_shards(session, 1)
    await publish(session, org)
    rows = await session.fetch(STATEMENTS["open_shards"], 50, 8, None)
    await publish(late, org)
    ids, bodies = [row["event_id"] for row in rows], ['{"ready": true}' for _ in rows]
    shards = [row["shard"] for row in rows]
    assert (
        await session.fetchval(
            STATEMENTS["route"], shards, 50, 50, ids, [org], bodies, [None], *NO_CLAIM.arguments
        )
        == 1
    )
    assert await session.fetchval("select count(*) from hookd.inbox_shard where bulk_orgs <> '{}'") == 0
    assert await waiting(session, org) == 1


async def test_a_burst_has_its_rounds_for_itself(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    busy, *others = await of_many_shards(session, 4)
    await burst(session, busy, 500)
    await route(session, limit=50, shards=8)
    for org in others:
        await publish_ready(session, org)
    rounds = []
    for _ in range(4):
        await advance(session, 0.01)
        before = await waiting(session, busy)
        count = await route(session, limit=50, shards=8)
        rounds.append((before - await waiting(session, busy), count))
    assert sorted(rounds) == [(0, 3), (50, 50), (50, 50), (50, 50)]


@pytest.mark.parametrize("seed", range(6))
async def test_each_organisation_keeps_its_order_whoever_passes(connect: Connect, seed: int) -> None:
    """Bursts, single events of both kinds, and transactions that commit late, with small turns between."""
    draw = random.Random(seed)
    session, late = await connect(), await connect()
    await prepare(session)
    orgs = await of_one_shard(session, 4)
    published: dict[UUID, list[UUID]] = {org: [] for org in orgs}
    late_org, committed_late = uuid4(), 0
    await register(session, late_org)
    await late.begin()
    for _ in range(60):
        org = draw.choice(orgs[: draw.randint(1, 4)])
        match draw.randrange(6):
            case 0:
                published[org] += sorted(await publish_ready(session, org, draw.randint(1, 40)))
            case 1 | 2:
                published[org].append(await publish(session, org))
            case 3:
                await publish(late, orgs[3] if draw.random() < 0.5 else late_org)
                committed_late += 1
                await late.commit()
                await late.begin()
                await publish(late, late_org)  # its transaction id stays low while others go on
                committed_late += 1
            case _:
                limit, budget, shards = draw.randint(1, 12), draw.randint(1, 20), draw.choice([1, 8])
                await route(session, limit=limit, budget=budget, shards=shards)
        await advance(session, 0.01)
    await late.commit()
    while await route(session, limit=7) is not None:
        await advance(session, 0.01)
    assert await session.fetchval("select count(*) from hookd.inbox") == 0
    for org in orgs[:3]:
        assert await routed(session, org) == published[org]
    total = sum(len(events) for events in published.values()) + committed_late
    assert await session.fetchval("select count(*) from hookd.delivery") == total


async def test_those_who_pass_are_found_wherever_they_are(connect: Connect) -> None:
    """Of runs of any lengths, whatever place it begins at, a look finds the first of the others, in order."""
    session, chance = await connect(), random.Random(7)
    await prepare(session)
    orgs = await of_one_shard(session, 4)
    for _ in range(30):
        org = chance.choice(orgs)
        await burst(session, org, chance.choice([1, 3, 199, 200, 201, 450]))
    rows = await session.fetch(
        "select xid::text, org_id, event_id, shard from hookd.inbox order by xid, org_id, event_id"
    )
    for _ in range(60):
        start, skip = chance.choice(rows), chance.sample(orgs, chance.randint(1, 4))
        limit = chance.choice([1, 2, 250])
        found = await session.fetch(
            "select n.event_id from hookd.next_events($1, $2::text::xid8, $3, $4, $5, $6) n",
            *(start["shard"], start["xid"], start["org_id"], start["event_id"], skip, limit),
        )
        behind = rows[rows.index(start) + 1 :]
        expected = [row["event_id"] for row in behind if row["org_id"] not in skip][:limit]
        assert [row["event_id"] for row in found] == expected


async def test_a_round_claims_what_it_routed_and_nobody_takes_it_along(connect: Connect) -> None:
    """What was routed just now waits neither for hosts due for longer, nor for the end of a large claim."""
    session, claimer = await connect(), await connect()
    await prepare(session)
    busy, other = uuid4(), uuid4()
    for number in range(20):
        await register(session, busy, host=f"busy{number}.example:443")
    await register(session, other, host="other.example:443")
    await prove(session)
    await burst(session, busy, 50)
    await route_all(session)
    await advance(session, 1)
    (event,) = await publish_ready(session, other)
    asked = ClaimRequest((uuid4(), uuid4()), 16, 4, 60.0)
    await session.begin()
    rows = await session.fetch(
        STATEMENTS["route_ready"], 50, 8, 50, timedelta(seconds=1), None, *asked.arguments
    )
    more = ClaimRequest((uuid4(), uuid4()), 10_000, 0, 60.0)
    everything = await claimer.fetch(STATEMENTS["claim_both"], *more.arguments)
    await session.commit()
    assert len(everything) > 20
    assert event not in {row["event_id"] for row in everything}
    *claimed, rest = [row[READY_WIDTH:] for row in rows]
    assert [(one[5], one[2] is not None) for one in claimed] == [(event, True)]
    assert rest[2] is None
    assert rest[1] <= 0, "the others are due, and the claimer is to know"


async def test_a_round_claims_nothing_without_room_or_where_there_is_more(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    org = uuid4()
    await register(session, org)
    await prove(session)
    for room, events, limit in ((0, 1, 50), (16, 3, 2)):
        await publish_ready(session, org, events)
        asked = ClaimRequest((uuid4(), uuid4()), room, 0, 60.0)
        rows = await session.fetch(
            STATEMENTS["route_ready"], limit, 8, 50, timedelta(seconds=1), None, *asked.arguments
        )
        assert [row["delivery_id"] for row in rows] == [None]
        assert await session.fetchval("select count(*) from hookd.lease") == 0
        await route_all(session)
