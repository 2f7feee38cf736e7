"""What subscriptions ask of the queue: order, pace, filters; and what changes and deletions do to it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import asyncpg
import pytest
import trio

from daemon.filters import path_of
from daemon.store.database import Database
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    claim_any,
    prepare,
    prove,
    publish_ready,
    record,
    register,
    result,
    route_all,
    route_rounds,
)

Connect = Callable[[], Awaitable[Session]]


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def published(session: Session, org: UUID, count: int) -> list[UUID]:
    """Publish one after the other, as separate transactions, and route them together."""
    ids = []
    for _ in range(count):
        ids += await publish_ready(session, org)
    await route_all(session)
    return ids


class TestOrdered:
    async def test_one_goes_at_a_time_and_in_the_order_of_publishing(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, ordered=True)
        ids = await published(session, org, 5)
        seen = []
        for _ in range(5):
            (one,) = await claim_any(session)
            assert await claim_any(session) == []
            await record(session, [result(one)])
            seen.append(one.event_id)
        assert seen == ids

    async def test_events_of_one_batch_keep_their_order(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, ordered=True)
        ids = await session.fetchval(
            "select hookd.publish_batch($1, $2, array_fill('{}'::jsonb, array[50]))",
            org,
            ["t"] * 50,
        )
        await route_all(session)
        owed = await session.fetch("select event_id from hookd.delivery order by due")
        assert [row[0] for row in owed] == sorted(ids)

    async def test_ids_follow_each_other_within_a_millisecond(self, session: Session) -> None:
        made = await session.fetch(
            "select hookd.uuid7(hookd.clock() + n * interval '1 microsecond') from generate_series(0, 5000) n"
        )
        ids = [row[0] for row in made]
        assert ids == sorted(ids)
        assert {one.version for one in ids} == {7}
        assert {one.variant for one in ids} == {RFC_4122}

    async def test_a_failed_one_holds_all_behind_it_until_it_is_due_again(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, ordered=True)
        first, second = await published(session, org, 2)
        (one,) = await claim_any(session)
        await record(session, [result(one, "retry", delay=60.0, lane="answered_badly", host_failed=False)])
        await advance(session, 59)
        assert await claim_any(session) == []
        await advance(session, 2)
        (again,) = await claim_any(session)
        assert (again.event_id, again.attempt) == (first, 2)
        await record(session, [result(again)])
        (after,) = await claim_any(session)
        assert after.event_id == second

    async def test_one_that_is_given_up_lets_the_next_go(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, ordered=True)
        _, second = await published(session, org, 2)
        (one,) = await claim_any(session)
        await record(session, [result(one, "given_up", reason="exhausted", lane="answered_well")])
        (after,) = await claim_any(session)
        assert after.event_id == second

    @pytest.mark.parametrize("outcome", ["interrupted", "unsent"])
    async def test_one_that_comes_back_without_an_outcome_is_first_again(
        self, session: Session, outcome: str
    ) -> None:
        org = uuid4()
        await register(session, org, ordered=True)
        first, _ = await published(session, org, 2)
        (one,) = await claim_any(session)
        await advance(session, 5)
        await record(session, [result(one, outcome)])
        (again,) = await claim_any(session)
        assert again.event_id == first


class TestRateLimit:
    async def test_a_lane_is_given_its_rate_and_one_second_of_burst(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, rate_limit=10.0)
        await prove(session)
        await published(session, org, 60)
        taken = await claim_all(session)
        assert taken == 10
        for _ in range(20):
            await advance(session, 0.25)
            taken += await claim_all(session)
        assert 58 <= taken <= 60

    async def test_a_slow_rate_sends_one_at_a_time(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, rate_limit=0.1)
        await prove(session)
        await published(session, org, 3)
        assert await claim_all(session) == 1
        await advance(session, 9.9)
        assert await claim_all(session) == 0
        await advance(session, 0.2)
        assert await claim_all(session) == 1

    async def test_another_lane_of_the_host_does_not_wait_for_it(self, session: Session) -> None:
        slow, fast = uuid4(), uuid4()
        await register(session, slow, rate_limit=1.0)
        await register(session, fast)
        await prove(session)
        await published(session, slow, 100)
        await published(session, fast, 100)
        assert await claim_all(session) == 101

    async def test_quiet_time_is_not_saved_up_beyond_a_second(self, session: Session) -> None:
        org = uuid4()
        await register(session, org, rate_limit=5.0)
        await prove(session)
        await advance(session, 3600)
        await published(session, org, 50)
        assert await claim_all(session) == 5


async def claim_all(session: Session) -> int:
    """Claim until nothing is left, let all succeed, and return how many there were."""
    total = 0
    while held := await claim_any(session):
        await record(session, [result(one) for one in held])
        total += len(held)
    return total


async def publish_body(session: Session, org: UUID, data: str) -> None:
    """Publish one event whose canonical body is ready and holds `data`."""
    (event,) = await publish_ready(session, org)
    await session.execute("update hookd.event set body = $2 where id = $1", event, f'{{"data":{data}}}')


class TestFilter:
    @pytest.mark.parametrize(
        "data, passes",
        [
            ('{"country": "DE", "score": 3}', True),
            ('{"country": "DE", "score": 1}', False),
            ('{"country": "FR", "score": 3}', False),
            ('{"score": 3}', False),
            ('{"country": "DE", "score": "3"}', False),
            ("[]", False),
            ("null", False),
            ('{"country": ["DE"], "score": 3}', False),
        ],
    )
    async def test_only_what_passes_is_owed(self, session: Session, data: str, passes: bool) -> None:
        org = uuid4()
        await register(session, org, filter='$.country == "DE" && $.score > 2')
        open_one = await register(session, org)
        await publish_body(session, org, data)
        await route_all(session)
        owed = {row[0] for row in await session.fetch("select subscription_id from hookd.delivery")}
        assert open_one in owed
        assert len(owed) == 1 + passes

    async def test_a_wide_fan_out_with_filters_goes_in_slices_and_meets_each_once(
        self, session: Session
    ) -> None:
        org = uuid4()
        for number in range(9):
            await register(session, org, filter="$.n > 5" if number % 3 else None)
        await publish_body(session, org, '{"n": 7}')
        assert await route_all(session, budget=2) >= 4
        owed = await session.fetch("select subscription_id, count(*) from hookd.delivery group by 1")
        assert [row[1] for row in owed] == [1] * 9

    async def test_an_integer_that_jsonb_cannot_hold_passes_no_filter_and_stops_nobody(
        self, session: Session
    ) -> None:
        org = uuid4()
        await register(session, org, filter="$.x == 1")
        open_one = await register(session, org)
        await publish_body(session, org, '{"x":' + "1" * 140_000 + "}")
        await route_all(session)
        owed = await session.fetch("select subscription_id from hookd.delivery")
        assert [row[0] for row in owed] == [open_one]

    async def test_large_events_meet_few_filters_at_once(self, session: Session) -> None:
        org = uuid4()
        for _ in range(6):
            await register(session, org, filter='exists($.a ? (@ starts with "x"))')
        await publish_body(session, org, '{"a":"' + "x" * 500_000 + '"}')
        assert await route_all(session) >= 3
        assert await session.fetchval("select count(*) from hookd.delivery") == 6

    async def test_a_shard_that_cannot_be_routed_does_not_stop_the_others(
        self, connect: Connect, session: Session, database: Database
    ) -> None:
        shard = "select uuid_hash($1) & 31"
        bad = good = uuid4()
        while await session.fetchval(shard, good) == await session.fetchval(shard, bad):
            good = uuid4()
        subscription = await register(session, bad)
        await register(session, good)
        await publish_body(session, bad, '{"x":1}')
        await publish_ready(session, good)
        await session.execute(
            "update hookd.inbox_shard set served_at = hookd.clock() where shard <> uuid_hash($1) & 31", bad
        )
        await session.execute(
            "create function refuse() returns trigger language plpgsql"
            " as $$ begin raise exception 'not today'; end $$;"
            "create trigger refuse before insert on hookd.delivery for each row when (new.subscription_id ="
            f" '{subscription}') execute function refuse()"
        )
        assert await route_once(database) == 1
        assert await session.fetchval("select count(*) from hookd.delivery") == 1
        assert await route_once(database) == 0, "it waits"
        await session.execute("update hookd.inbox_shard set served_at = hookd.clock()")
        with pytest.raises(asyncpg.RaiseError):
            await route_once(database)


async def route_once(database: Database) -> int:
    """Route until nothing is left, and return how many events there were."""
    return sum(one.events for one in await route_rounds(database, bulk=False))


async def change(session: Session, org: UUID, subscription: UUID, **given: Any) -> str:
    """Call hookd.change with what is given; a `host` comes with limits of its own."""
    names = [name for name in given if name not in ("host", "revision")]
    if "host" in given:
        names.append("url")
    answer: str = await session.fetchval(
        """select hookd.change($1, $2, $3, $4, 'https://x/', $5, 1e6, 1e6, 100, $6, $7, null, null, $11,
           $8, $12, $9, $10, null)""",
        org,
        subscription,
        [given["revision"]] if "revision" in given else None,
        names,
        given.get("host", "one.example:443"),
        given.get("events"),
        given.get("is_active"),
        given.get("filter"),
        given.get("rate_limit"),
        given.get("ordered", False),
        given.get("headers"),
        path_of(given["filter"]) if given.get("filter") else None,
    )
    return answer


async def counters(session: Session) -> dict[str, int]:
    found = await session.fetch("select name, in_flight from hookd.host")
    return {row["name"]: row["in_flight"] for row in found}


class TestChange:
    async def test_what_is_owed_moves_with_the_url(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, host="old:443")
        await published(session, org, 3)
        assert await change(session, org, mine, host="new:443") == "changed"
        held = await claim_any(session)
        assert len(held) == 1, "a new host is tried with one request"
        hosts = await session.fetch("select id, name from hookd.host")
        names = {row["id"]: row["name"] for row in hosts}
        assert {names[one.host_id] for one in held} == {"new:443"}
        await record(session, [result(held[0])])
        assert len(await claim_any(session)) == 2

    async def test_a_send_under_way_ends_as_it_began(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, host="old:443")
        await prove(session)
        await published(session, org, 2)
        held = await claim_any(session)
        assert await counters(session) == {"old:443": 2}
        await change(session, org, mine, host="new:443")
        assert await counters(session) == {"old:443": 2, "new:443": 0}
        assert await record(session, [result(one) for one in held]) == [True, True]
        assert await counters(session) == {"old:443": 0, "new:443": 0}
        assert await session.fetchval("select in_flight from hookd.lane") == 0

    async def test_what_fails_under_way_comes_back_at_the_new_host(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, host="old:443")
        await published(session, org, 1)
        held = await claim_any(session)
        await change(session, org, mine, host="new:443")
        await record(
            session,
            [result(held[0], "retry", delay=5.0, lane="neutral", host_failed=True, error="dns_failed")],
        )
        await advance(session, 6)
        (again,) = await claim_any(session)
        assert again.host_id != held[0].host_id

    async def test_a_new_url_ends_the_pause_that_the_old_one_asked_for(self, session: Session) -> None:
        org = uuid4()
        mine, other = await register(session, org), await register(session, org)
        await prove(session)
        await published(session, org, 3)
        held = await claim_any(session)
        await record(session, [result(one, "retry", delay=86_400.0, hold=86_400.0) for one in held])
        await published(session, org, 1)
        assert await claim_any(session) == []
        await session.execute("update hookd.subscription set url = 'https://x/' where id = $1", other)
        await change(session, org, other, url="https://x/")
        assert await claim_any(session) == []
        await change(session, org, mine, url="https://x/")
        found = await claim_any(session)
        assert len(found) == 4
        assert {one.subscription_id for one in found} == {mine}
        assert await session.fetchval(
            "select hold_until > hookd.clock() from hookd.lane where subscription_id = $1", other
        )

    async def test_what_failed_at_the_old_url_is_tried_at_the_new_one(self, session: Session) -> None:
        org = uuid4()
        mine, other = await register(session, org), await register(session, org)
        await prove(session)
        await published(session, org, 2)
        held = await claim_any(session)
        await record(session, [result(one, "retry", delay=3600.0) for one in held])
        assert await claim_any(session) == []
        await change(session, org, mine, url="https://x/")
        found = await claim_any(session)
        assert [one.subscription_id for one in found] == [mine, mine]
        await record(session, [result(one, "retry", delay=60.0) for one in found])
        assert await claim_any(session) == [], "once"
        await advance(session, 3600)
        assert {one.subscription_id for one in await claim_any(session)} == {mine, other}

    async def test_an_old_revision_changes_nothing(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        assert await change(session, org, mine, revision=1, events=["a"]) == "changed"
        assert await change(session, org, mine, revision=1, events=["b"]) == "conflict"
        assert await session.fetchval("select events from hookd.subscription") == ["a"]

    async def test_another_organisations_is_missing(self, session: Session) -> None:
        mine = await register(session, uuid4())
        assert await change(session, uuid4(), mine, events=["a"]) == "missing"

    async def test_new_events_count_from_then_on(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, events=["a"])
        await publish_ready(session, org, type_="a")
        await publish_ready(session, org, type_="b")
        await change(session, org, mine, events=["b", "b", "*"])
        assert await session.fetchval("select array_agg(pattern) from hookd.interest") == ["*"]
        await route_all(session)
        assert await session.fetchval("select count(*) from hookd.delivery") == 2

    async def test_paused_holds_and_resumed_goes_on(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await published(session, org, 2)
        await change(session, org, mine, is_active=False)
        assert await session.fetchval("select disabled_reason from hookd.subscription") == "paused"
        assert await claim_any(session) == []
        await published(session, org, 1)
        await change(session, org, mine, is_active=True)
        assert len(await claim_any(session)) == 1
        assert await session.fetchval("select count(*) from hookd.delivery") == 2

    async def test_order_asked_for_later_takes_effect_at_the_next_claim(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await prove(session)
        await published(session, org, 5)
        await change(session, org, mine, ordered=True)
        assert len(await claim_any(session)) == 1

    async def test_a_new_rate_is_in_force_at_once(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await prove(session)
        await published(session, org, 5)
        await change(session, org, mine, rate_limit=1.0)
        assert await claim_all(session) == 1
        await change(session, org, mine, rate_limit=None)
        assert await claim_all(session) == 4


class TestRemove:
    async def test_nothing_is_left_of_it_once_purged(self, session: Session) -> None:
        org = uuid4()
        mine, other = await register(session, org), await register(session, org)
        await published(session, org, 3)
        await record(session, [result(one) for one in await claim_any(session)])
        assert await session.fetchval("select hookd.remove($1, $2)", org, mine) == "removed"
        await advance(session, 120)
        rounds = 0
        while await session.fetchval("select hookd.purge(2)"):
            rounds += 1
        assert rounds > 1
        for table in ("delivery", "attempt", "subscription_secret", "interest", "lane"):
            kept = await session.fetch(f"select distinct subscription_id from hookd.{table}")  # noqa: S608
            assert [row[0] for row in kept] == [other], table
        assert await session.fetchval("select count(*) from hookd.removal") == 0

    async def test_a_send_under_way_finds_nothing_to_record(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await published(session, org, 1)
        held = await claim_any(session)
        assert await counters(session) == {"one.example:443": 1}
        await session.fetchval("select hookd.remove($1, $2)", org, mine)
        assert await counters(session) == {"one.example:443": 0}
        assert await record(session, [result(one) for one in held]) == [False]
        assert await counters(session) == {"one.example:443": 0}
        assert await session.fetchval("select count(*) from hookd.attempt") == 0

    async def test_one_that_moved_gives_both_hosts_their_room_back(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, host="old:443")
        await published(session, org, 2)
        held = await claim_any(session)
        await change(session, org, mine, host="new:443")
        assert len(held) == 1
        await session.fetchval("select hookd.remove($1, $2)", org, mine)
        assert await counters(session) == {"old:443": 0, "new:443": 0}

    async def test_another_organisations_stays(self, session: Session) -> None:
        mine = await register(session, uuid4())
        assert await session.fetchval("select hookd.remove($1, $2)", uuid4(), mine) == "missing"
        assert await session.fetchval("select count(*) from hookd.subscription") == 1

    async def test_one_at_another_revision_stays(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        for revisions, outcome in [([], "conflict"), ([2, 3], "conflict"), ([1, 3], "removed")]:
            removed = await session.fetchval("select hookd.remove($1, $2, $3)", org, mine, revisions)
            assert removed == outcome


class TestRotate:
    async def rotate(self, session: Session, org: UUID, mine: UUID, hours: int = 24) -> Sequence[Any]:
        row = await session.fetchrow(
            "select outcome, until from hookd.rotate($1, $2, $3, $4, 3)",
            org,
            mine,
            b"new",
            timedelta(hours=hours),
        )
        assert row is not None
        return tuple(row)

    async def valid(self, session: Session) -> int:
        count: int = await session.fetchval(
            "select count(*) from hookd.subscription_secret"
            " where coalesce(expires_at, 'infinity') > hookd.clock()"
        )
        return count

    async def test_the_old_secret_ends_after_the_overlap(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        outcome, until = await self.rotate(session, org, mine)
        now: datetime = await session.fetchval("select hookd.clock()")
        assert (outcome, until) == ("rotated", now + timedelta(hours=24))
        assert await self.valid(session) == 2
        await advance(session, 24 * 3600)
        assert await self.valid(session) == 1

    async def test_an_earlier_end_is_not_put_off(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await self.rotate(session, org, mine, hours=1)
        await self.rotate(session, org, mine, hours=24)
        await advance(session, 3600)
        assert await self.valid(session) == 2

    async def test_only_so_many_sign_at_once(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        outcomes = [(await self.rotate(session, org, mine))[0] for _ in range(3)]
        assert outcomes == ["rotated", "rotated", "crowded"]
        assert (await self.rotate(session, uuid4(), mine))[0] == "missing"

    async def test_one_at_another_revision_keeps_its_secret(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        outcomes = [
            await session.fetchval(
                "select outcome from hookd.rotate($1, $2, 'new', '1 h', 3, $3)", org, mine, revisions
            )
            for revisions in ([2], [1], [1], [2, 5])
        ]
        assert outcomes == ["conflict", "rotated", "conflict", "rotated"]

    async def test_ending_leaves_the_newest(self, session: Session) -> None:
        org = uuid4()
        mine, other = await register(session, org), await register(session, org)
        for one in (mine, mine, other):
            await self.rotate(session, org, one)
        ended = "select hookd.end_previous_secrets($1, $2, $3)"
        assert await session.fetchval(ended, org, mine, [1]) == "conflict"
        assert await session.fetchval(ended, uuid4(), mine, None) == "missing"
        assert await self.valid(session) == 5
        for revision in (4, 4):
            assert await session.fetchval(ended, org, mine, None) == "ended"
            assert (
                await session.fetchval("select revision from hookd.subscription where id = $1", mine)
                == revision
            )
        assert await self.valid(session) == 3


async def forget_hosts(session: Session) -> int:
    count: int = await session.fetchval(STATEMENTS["forget_hosts"], 1000)
    return count


class TestHosts:
    async def test_a_change_of_nothing_makes_no_host(self, session: Session) -> None:
        mine = await register(session, uuid4())
        assert await change(session, uuid4(), mine, host="new:443") == "missing"
        assert await change(session, uuid4(), uuid4(), host="new:443") == "missing"
        assert await counters(session) == {"one.example:443": 0}

    async def test_one_without_lanes_and_requests_is_forgotten(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org, host="old:443")
        await register(session, org, host="kept:443")
        await published(session, org, 1)
        held = await claim_any(session)
        await change(session, org, mine, host="new:443")
        assert await forget_hosts(session) == 0, "a request to it is under way"
        await record(session, [result(one) for one in held])
        assert await forget_hosts(session) == 1
        assert await counters(session) == {"kept:443": 0, "new:443": 0}
        await change(session, org, mine, host="old:443")
        await published(session, org, 1)
        assert {one.subscription_id for one in await claim_any(session)} >= {mine}

    async def test_one_that_a_registration_is_about_to_use_stays(
        self, connect: Connect, session: Session
    ) -> None:
        org, other = uuid4(), await connect()
        mine = await register(session, org)
        await session.fetchval("select hookd.remove($1, $2)", org, mine)
        await other.begin()
        await register(other, org)
        assert await forget_hosts(session) == 0
        await other.commit()
        assert await forget_hosts(session) == 0
        await published(session, org, 1)
        assert len(await claim_any(session)) == 1

    async def test_a_registration_that_met_its_end_makes_it_anew(
        self, connect: Connect, session: Session
    ) -> None:
        org, other = uuid4(), await connect()
        mine = await register(session, org)
        await session.fetchval("select hookd.remove($1, $2)", org, mine)
        await session.begin()
        assert await forget_hosts(session) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(register, other, org)
            await other.wait_blocked(by=session)
            await session.commit()
        await published(session, org, 1)
        assert len(await claim_any(session)) == 1


class TestSecretHeaders:
    async def test_another_host_asks_for_them_anew(self, session: Session) -> None:
        org = uuid4()
        mine = await register(session, org)
        await change(session, org, mine, headers=b"sealed")
        assert await change(session, org, mine, host="one.example:443") == "changed"
        assert await change(session, org, mine, host="new:443") == "headers"
        kept = await session.fetchrow("select revision, headers from hookd.subscription")
        assert kept is not None and tuple(kept) == (3, b"sealed")
        assert await change(session, org, mine, host="new:443", headers=b"others") == "changed"
        assert await change(session, org, mine, host="third:443", headers=None) == "changed"
        assert await change(session, org, mine, host="fourth:443") == "changed"
