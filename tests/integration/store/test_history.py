"""The history in a real Postgres: why a delivery waits, pages while attempts are recorded, redelivery."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from api.pending_reason import Reason, Waiting, waiting
from daemon.store.database import Database
from daemon.store.history import Attempt, AttemptFilter, CannotRedeliver, CannotRetry, Delivery, History
from tests.support.postgres import Session
from tests.support.queue_drain import Cost, cost
from tests.support.queue_lab import (
    NOON,
    advance,
    claim_any,
    prepare,
    prove,
    publish,
    publish_ready,
    record,
    register,
    register_many,
    result,
    route_all,
)

ORG = uuid4()
ANY = AttemptFilter()
Connect = Callable[[], Awaitable[Session]]


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


@pytest.fixture
def history(database: Database) -> History:
    return History(database)


async def owed(session: Session, subscription: UUID) -> list[UUID]:
    """Return what the subscription is owed, the first to go first."""
    found = await session.fetch(
        "select id from hookd.delivery where subscription_id = $1 order by due, id", subscription
    )
    return [row["id"] for row in found]


async def delivery(history: History, subscription: UUID, identifier: UUID) -> Delivery:
    found = await history.delivery(ORG, subscription, identifier)
    assert found is not None
    return found


async def waits(history: History, subscription: UUID, identifier: UUID) -> Waiting:
    found = await delivery(history, subscription, identifier)
    assert found.state is not None
    return waiting(found.state)


async def subscribed(
    session: Session, events: int = 1, *, proven: bool = False, **more: Any
) -> tuple[UUID, list[UUID]]:
    """Return a new subscription and what it is owed for so many events."""
    subscription = await register(session, ORG, **more)
    if proven:
        await prove(session)
    await publish_ready(session, ORG, events)
    await route_all(session)
    return subscription, await owed(session, subscription)


# Why a delivery waits.


async def test_what_is_due_waits_in_the_queue_and_then_is_being_sent(
    session: Session, history: History
) -> None:
    subscription, [first] = await subscribed(session)
    assert (await waits(history, subscription, first)).reason is Reason.QUEUE
    await claim_any(session, lease=60)
    found = await waits(history, subscription, first)
    assert (found.reason, found.until) == (Reason.SENDING, NOON + timedelta(seconds=60))
    await advance(session, 61)
    found = await waits(history, subscription, first)
    assert (found.reason, found.until) == (Reason.SENDING, None)


async def test_a_subscription_that_is_off_is_paused(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await session.execute("select hookd.set_active($1, false, 'gone')", subscription)
    found = await waits(history, subscription, first)
    assert (found.reason, found.until) == (Reason.PAUSED, None)
    assert "410" in found.detail


async def test_an_event_for_later_and_one_that_failed_wait_for_their_time(
    session: Session, history: History
) -> None:
    subscription = await register(session, ORG)
    later = NOON + timedelta(hours=3)
    await publish(session, ORG, deliver_after=later)
    await route_all(session)
    [first] = await owed(session, subscription)
    assert await reason(history, subscription, first) == (Reason.DELIVER_AFTER, later)
    await session.execute("update hookd.test_clock set now = $1", later)
    assert (await waits(history, subscription, first)).reason is Reason.QUEUE
    await record(session, [result(one, "retry", delay=300.0) for one in await claim_any(session)])
    again = later + timedelta(seconds=300)
    assert await reason(history, subscription, first) == (Reason.RETRY, again)


async def reason(history: History, subscription: UUID, identifier: UUID) -> tuple[Reason, Any]:
    found = await waits(history, subscription, identifier)
    return found.reason, found.until


async def test_retry_after_holds_the_lane(session: Session, history: History) -> None:
    subscription, [first, second] = await subscribed(session, 2)
    [held] = await claim_any(session)
    assert held.delivery_id == first
    await record(session, [result(held, "retry", delay=5.0, hold=900.0, lane="answered_badly")])
    until = NOON + timedelta(seconds=900)
    assert await reason(history, subscription, second) == (Reason.RETRY_AFTER, until)
    assert await reason(history, subscription, first) == (Reason.RETRY_AFTER, until)


async def test_in_strict_order_the_first_waits_for_its_retry_and_the_others_for_it(
    session: Session, history: History
) -> None:
    subscription, [first, second] = await subscribed(session, 2, ordered=True)
    assert await reason(history, subscription, second) == (Reason.ORDER, None)
    [held] = await claim_any(session)
    assert held.delivery_id == first
    assert await reason(history, subscription, second) == (Reason.ORDER, None)
    await record(session, [result(held, "retry", delay=300.0)])
    again = NOON + timedelta(seconds=300)
    assert await reason(history, subscription, first) == (Reason.RETRY, again)
    assert await reason(history, subscription, second) == (Reason.ORDER, again)


async def test_an_open_circuit_blocks_until_its_probe(session: Session, history: History) -> None:
    subscription, ids = await subscribed(session, 6, proven=True)
    held = await claim_any(session, batch=5)
    assert len(held) == 5
    failed = {"delay": 0.0, "host_failed": True, "duration": 5000.0}
    await record(session, [result(one, "retry", **failed) for one in held])
    left = next(one for one in ids if one not in {each.delivery_id for each in held})
    blocked = await session.fetchval("select blocked_until from hookd.host")
    assert blocked > NOON + timedelta(seconds=0.3)
    assert await reason(history, subscription, left) == (Reason.CIRCUIT, blocked)
    await session.execute("update hookd.test_clock set now = $1", blocked)
    [probe] = await claim_any(session)
    waiting_one = next(one for one in ids if one != probe.delivery_id)
    assert await reason(history, subscription, waiting_one) == (Reason.CIRCUIT, None)


async def test_a_full_lane_and_a_full_host_wait_for_an_answer(session: Session, history: History) -> None:
    subscription, ids = await subscribed(session, 2)
    [held] = await claim_any(session)
    [left] = [one for one in ids if one != held.delivery_id]
    assert await reason(history, subscription, left) == (Reason.IN_FLIGHT, None)
    other, [first, second] = await subscribed(
        session, 2, proven=True, host="two.example:443", max_in_flight=1
    )
    await claim_any(session)
    found = await waits(history, other, second)
    assert (found.reason, found.until) == (Reason.IN_FLIGHT, None)
    assert "two.example:443" in found.detail
    assert (await waits(history, other, first)).reason is Reason.SENDING


async def test_what_is_kept_for_other_organisations_waits_for_an_answer(
    session: Session, history: History
) -> None:
    subscription, ids = await subscribed(session, 4, proven=True, max_in_flight=4)
    await register(session, uuid4(), max_in_flight=4)
    held = {one.delivery_id for one in await claim_any(session)}
    assert len(held) == 2
    left = next(one for one in ids if one not in held)
    found = await waits(history, subscription, left)
    assert (found.reason, found.until) == (Reason.ORGANISATION_SHARE, None)


async def test_a_rate_that_is_used_up_tells_when_the_next_may_go(session: Session, history: History) -> None:
    subscription, [_, second, _] = await subscribed(session, 3, proven=True, rate=0.5, burst=1)
    assert len(await claim_any(session)) == 1
    assert await reason(history, subscription, second) == (Reason.RATE, NOON + timedelta(seconds=2))
    await advance(session, 2)
    assert [one.delivery_id for one in await claim_any(session)] == [second]


async def test_a_rate_of_the_subscription_tells_when_the_last_may_go(
    session: Session, history: History
) -> None:
    subscription, ids = await subscribed(session, 4, proven=True, rate_limit=0.5)
    assert len(await claim_any(session)) == 1
    for place, identifier in enumerate(ids[1:3], 1):
        found = await waits(history, subscription, identifier)
        assert found.reason is Reason.RATE
        assert found.until is not None
        assert found.until >= NOON + timedelta(seconds=2)
        await advance(session, 2)
        assert [one.delivery_id for one in await claim_any(session)] == [ids[place]]


# Lists.


async def record_history(session: Session, subscription: UUID, count: int, types: int = 1) -> None:
    """Put `count` attempts of the last hour into the history; every hundredth succeeded."""
    await session.execute(
        """
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded,
            ended, duration_ms, attempted_at)
        select hookd.uuid7(x.at), $1, gen_random_uuid(), gen_random_uuid(), 't' || n % $3, 1, n % 100 = 0,
            'succeeded', 1, x.at
        from generate_series(1, $2) n, lateral (
            select hookd.clock() - interval '1 hour' * (1 - n::float8 / $2) as at offset 0) x
        """,
        subscription,
        count,
        types,
    )


async def pages(
    history: History, subscription: UUID, wanted: AttemptFilter = ANY, limit: int = 100
) -> tuple[list[Attempt], int]:
    """Return all attempts, page by page, and the number of pages."""
    found: list[Attempt] = []
    below = None
    for number in range(1, 10_000):
        page = await history.attempts(ORG, subscription, wanted, limit=limit, below=below)
        assert page is not None
        found += page.attempts
        below = page.below
        if below is None:
            return found, number
    raise AssertionError("the list has no end")


async def test_pages_miss_nothing_and_hold_nothing_twice_while_attempts_are_recorded(
    connect: Connect, history: History
) -> None:
    session = await connect()
    await session.execute(
        "select hookd.make_partitions(now() - interval '1 week', now() + interval '1 week')"
    )
    subscription = await register(session, ORG)
    await record_history(session, subscription, 10_000)
    before = {row["id"] for row in await session.fetch("select id from hookd.attempt")}
    await prove(session)
    await publish_ready(session, ORG, 1000)
    await publish_ready(session, ORG, 1000)
    await route_all(session)
    begun, ended = trio.Event(), 0

    async def write(writer: Session) -> None:
        nonlocal ended
        while held := await claim_any(writer, batch=20):
            await record(writer, [result(one) for one in held])
            begun.set()
        ended += 1

    followed: list[UUID] = []

    async def follow() -> None:
        """Read what is new, again and again, down to what was seen before."""
        newest, last_round = max(before), False
        while not last_round:
            last_round = ended == 2
            below, fresh = None, []
            while True:
                page = await history.attempts(ORG, subscription, ANY, limit=100, below=below)
                assert page is not None
                new = [one.id for one in page.attempts if one.id > newest]
                fresh += new
                below = page.below
                if len(new) < 100:
                    break
            followed.extend(fresh)
            newest = max([newest, *fresh])

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            nursery.start_soon(write, await connect())
            nursery.start_soon(write, await connect())
            await begun.wait()
            seen, _ = await pages(history, subscription)
    ids = [one.id for one in seen]
    assert ids == sorted(set(ids), reverse=True)
    assert before < set(ids)
    after = {row["id"] for row in await session.fetch("select id from hookd.attempt")}
    assert len(after) == 12_000
    assert {one for one in after if one <= ids[0]} == set(ids)
    assert len(followed) == 2000
    assert set(followed) == after - before


async def test_what_is_recorded_later_stands_above(connect: Connect, history: History) -> None:
    """A reader that has passed a place never comes back to it, so nothing may be put in there."""
    first, second = await connect(), await connect()
    await first.execute("select hookd.make_partitions(now(), now())")
    subscription = await register(first, ORG)
    await prove(first)
    await publish_ready(first, ORG, 2)
    await route_all(first)
    one, other = await claim_any(first)
    await first.begin()
    await first.execute("select hookd.lock_hosts(array(select id from hookd.host))")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(record, second, [result(other)], done=False))
        await second.wait_blocked(by=first)
        await record(first, [result(one)], done=False)
        await first.commit()
    found, _ = await pages(history, subscription)
    assert [row.delivery_id for row in found] == [other.delivery_id, one.delivery_id]


async def test_filters_choose_and_a_rare_one_is_bounded(session: Session, database: Database) -> None:
    history = History(database, scan=500)
    subscription = await register(session, ORG)
    await record_history(session, subscription, 3000, types=7)
    everything, _ = await pages(history, subscription)
    assert len(everything) == 3000
    found, count = await pages(history, subscription, AttemptFilter(succeeded=True), limit=20)
    assert [one.id for one in found] == [one.id for one in everything if one.succeeded]
    assert len(found) == 30
    assert count > 3000 // 500
    found, _ = await pages(history, subscription, AttemptFilter(event_type="t3", succeeded=True), limit=2)
    assert [one.id for one in found] == [
        one.id for one in everything if one.succeeded and one.event_type == "t3"
    ]
    for pattern in ("*", "t*", "t.*"):
        found, _ = await pages(history, subscription, AttemptFilter(event_type=pattern))
        assert len(found) == (3000 if pattern == "*" else 0)
    found, count = await pages(history, subscription, AttemptFilter(event_type="none"))
    assert (found, count) == ([], 3000 // 500 + 1)
    since, until = everything[2000].attempted_at, everything[1000].attempted_at
    found, _ = await pages(history, subscription, AttemptFilter(since=since, until=until))
    assert [one.id for one in found] == [one.id for one in everything[1001:2001]]


async def test_the_end_of_a_list_is_known(session: Session, history: History) -> None:
    subscription = await register(session, ORG)
    assert await pages(history, subscription) == ([], 1)
    await record_history(session, subscription, 200)
    _, count = await pages(history, subscription, limit=100)
    assert count == 2
    assert await history.attempts(uuid4(), subscription, ANY, limit=10, below=None) is None
    assert await history.attempts(ORG, uuid4(), ANY, limit=10, below=None) is None


async def test_what_is_owed_is_listed_with_what_is_under_way(session: Session, history: History) -> None:
    subscription = await register(session, ORG)
    await prove(session)
    await publish_ready(session, ORG, 30, "a")
    await publish_ready(session, ORG, 30, "b")
    for _ in range(40):  # all due at one moment
        await publish(session, ORG, "a", deliver_after=NOON + timedelta(hours=1))
    await route_all(session)
    held = {one.delivery_id for one in await claim_any(session, batch=10)}
    wanted = await owed(session, subscription)
    for limit in (7, 100):
        found, after = [], None
        while True:
            page = await history.pending(ORG, subscription, None, limit=limit, after=after)
            assert page is not None
            found += page.pending
            after = page.after
            if after is None:
                break
        assert [one.id for one in found] == wanted
    assert {one.id for one in found if one.leased} == held
    assert page is not None and page.active
    page = await history.pending(ORG, subscription, "b", limit=100, after=None)
    assert page is not None
    assert [one.event_type for one in page.pending] == ["b"] * 30
    assert page.after is None
    assert await history.pending(uuid4(), subscription, None, limit=5, after=None) is None


async def test_pages_and_look_ups_touch_only_what_they_show(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    await session.execute("select hookd.make_partitions($1, $2)", NOON - timedelta(weeks=29), NOON)
    subscription = await register(session, ORG)
    await publish_ready(session, ORG)
    await route_all(session)
    [done] = await owed(session, subscription)
    await record(session, [result(held) for held in await claim_any(session)])
    [event] = await publish_ready(session, ORG)
    await route_all(session)
    [one] = await owed(session, subscription)
    org, sub = f"'{ORG}'", f"'{subscription}'"
    steps = {
        "newest": f"attempts_page({sub}, null, null, null, null, null, 101, 5000)",
        "middle": f"attempts_page({sub}, hookd.uuid7_floor('{NOON - timedelta(weeks=15)}'), null, null, null,"
        " null, 101, 5000)",
        "rare": f"attempts_page({sub}, null, null, null, null, 'none', 101, 500)",
        "time": f"attempts_page({sub}, null, '{NOON - timedelta(weeks=9)}',"
        f" '{NOON - timedelta(weeks=8, days=6)}', null, null, 101, 500)",
        "owed": f"pending_page({org}, {sub}, null, null, null, 101, 5000)",
        "delivery_state": f"delivery_state({org}, {sub}, '{one}')",
        "attempts": f"attempts_of({sub}, '{done}', 100)",
        "event": f"event_of({org}, '{event}')",
        "retry": f"retry_now({org}, {sub}, '{one}')",
        "redeliver": f"redeliver({org}, {sub}, '{one}')",
    }
    for name, step in steps.items():
        for _ in range(
            7 if name != "redeliver" else 1
        ):  # on an empty history, until plans for all arguments are kept
            await session.fetch(f"select * from hookd.{step}")  # noqa: S608
    await register_many(session, None, 20, prefix="more")
    await session.execute(
        """
        insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt, succeeded,
            attempted_at)
        select hookd.uuid7(x.at), x.sub, gen_random_uuid(), gen_random_uuid(), 't', 1, true, x.at
        from generate_series(1, 60000) n, lateral (
            select $1::timestamptz - interval '29 weeks' * (n / 60000.0) as at,
                (array(select id from hookd.subscription order by id))[1 + n % 21] as sub) x
        """,
        NOON,
    )
    await session.execute(
        "insert into hookd.delivery (id, subscription_id, event_id, due)"
        " select hookd.uuid7(hookd.clock()), s.id, $1, hookd.clock()"
        " from hookd.subscription s, generate_series(1, 2000)",
        event,
    )
    found: dict[str, Cost] = {}
    for name, step in steps.items():
        shown = await session.fetch(f"select * from hookd.{step}")  # noqa: S608
        expected = {"newest": (101,), "middle": (101,), "owed": (101,), "time": (14, 15)}.get(name, (1,))
        assert len(shown) in expected, name
        found[name] = await cost(session, f"select * from hookd.{step}")  # noqa: S608
    allowed = dict.fromkeys(steps, 400) | {"rare": 1500, "delivery_state": 3500, "owed": 6000}
    dear = {name: one.blocks for name, one in found.items() if one.blocks > allowed[name]}
    print({name: (one.blocks, round(one.milliseconds, 2)) for name, one in found.items()})
    assert not dear, f"{dear} of {found}"


# One delivery, and once more.


async def test_a_delivery_is_told_with_all_its_attempts(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    for number, outcome in enumerate(("retry", "retry", "given_up"), 1):
        [held] = await claim_any(session)
        more = {"delay": 10.0} if outcome == "retry" else {"reason": "exhausted"}
        phases = "{0.5,1.25,NULL,20}"
        await record(
            session,
            [
                result(
                    held,
                    outcome,
                    status=500,
                    error="status_5xx",
                    phases=phases,
                    excerpt=f"no {number}",
                    note="lines end without CR" if number == 2 else None,
                    headers="server: x\nretry-after: 5: 6" if number == 2 else None,
                    **more,
                )
            ],
        )
        found = await delivery(history, subscription, first)
        assert (found.state is None) == (outcome == "given_up")
        await advance(session, 10)
    assert [(one.attempt, one.excerpt, one.ended) for one in found.attempts] == [
        (1, "no 1", None),
        (2, "no 2", None),
        (3, "no 3", "exhausted"),
    ]
    assert found.attempts[0].phases_ms == [0.5, 1.25, None, 20]
    assert [one.note for one in found.attempts] == [None, "lines end without CR", None]
    assert [one.response_headers for one in found.attempts] == [None, "server: x\nretry-after: 5: 6", None]
    assert found.body == "{}"
    assert await history.delivery(uuid4(), subscription, first) is None
    assert await history.delivery(ORG, uuid4(), first) is None
    assert await history.delivery(ORG, subscription, uuid4()) is None


async def test_redelivery_owes_the_same_event_once_more(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(session, [result(one) for one in await claim_any(session)])
    assert await claim_any(session) == []
    again = await history.redeliver(ORG, subscription, first)
    assert again not in (None, first)
    old = await delivery(history, subscription, first)
    assert (old.state, old.attempts[-1].ended) == (None, "succeeded")
    [held] = await claim_any(session)
    assert (held.delivery_id, held.event_id, held.attempt) == (again, old.event_id, 1)
    third = await history.redeliver(ORG, subscription, held.delivery_id)  # while it is being sent
    assert third is not None
    await record(session, [result(held)])
    assert [one.delivery_id for one in await claim_any(session)] == [third]
    for org, sub, one in (
        (uuid4(), subscription, first),
        (ORG, uuid4(), first),
        (ORG, subscription, uuid4()),
    ):
        assert await history.redeliver(org, sub, one) is None


async def test_a_retry_goes_now_and_is_the_same_delivery(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(session, [result(one, "retry", delay=3600.0) for one in await claim_any(session)])
    assert await claim_any(session) == []
    assert await history.retry_now(ORG, subscription, first)
    [held] = await claim_any(session)
    assert (held.delivery_id, held.attempt) == (first, 2)
    with pytest.raises(CannotRetry, match="sending"):
        await history.retry_now(ORG, subscription, first)
    await record(session, [result(held)])
    with pytest.raises(CannotRetry, match="ended"):
        await history.retry_now(ORG, subscription, first)
    for org, sub, one in (
        (uuid4(), subscription, first),
        (ORG, uuid4(), first),
        (ORG, subscription, uuid4()),
    ):
        assert not await history.retry_now(org, sub, one)


async def test_a_retry_in_strict_order_ends_the_wait_of_all(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await session.execute("update hookd.lane set ordered = true")
    await advance(session, 1)
    await publish_ready(session, ORG)
    await route_all(session)
    await record(session, [result(one, "retry", delay=3600.0) for one in await claim_any(session)])
    [_, second] = await owed(session, subscription)
    assert await history.retry_now(ORG, subscription, second)
    assert await claim_any(session) == [], "the first one decides"
    assert await history.retry_now(ORG, subscription, first)
    [held] = await claim_any(session)
    assert held.delivery_id == first


async def test_a_retry_does_not_end_a_pause(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(
        session, [result(one, "retry", delay=3600.0, hold=3600.0) for one in await claim_any(session)]
    )
    assert (await waits(history, subscription, first)).reason is Reason.RETRY_AFTER
    assert await history.retry_now(ORG, subscription, first)
    assert await claim_any(session) == []
    assert (await waits(history, subscription, first)).reason is Reason.RETRY_AFTER


async def test_redelivery_wakes_a_host_that_sleeps(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(session, [result(one) for one in await claim_any(session)])
    sleeping = "select ready_at = 'infinity' and probe_at = 'infinity' from hookd.host"
    assert await session.fetchval(sleeping)
    await history.redeliver(ORG, subscription, first)
    assert not await session.fetchval(sleeping)


async def test_redelivery_to_a_subscription_that_is_off_is_held(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(session, [result(one) for one in await claim_any(session)])
    await session.execute("select hookd.set_active($1, false, 'paused')", subscription)
    again = await history.redeliver(ORG, subscription, first)
    assert again is not None
    assert await claim_any(session) == []
    assert (await waits(history, subscription, again)).reason is Reason.PAUSED
    await session.execute("select hookd.set_active($1, true, null)", subscription)
    assert [one.delivery_id for one in await claim_any(session)] == [again]


async def test_what_cannot_be_sent_is_not_redelivered(session: Session, history: History) -> None:
    subscription, [first] = await subscribed(session)
    await record(session, [result(one) for one in await claim_any(session)])
    await session.execute("delete from hookd.event")
    with pytest.raises(CannotRedeliver, match="expired"):
        await history.redeliver(ORG, subscription, first)
    found = await delivery(history, subscription, first)
    assert (found.body, found.event_type) == (None, "t")
    wrong = await publish(session, ORG)
    await route_all(session, problems={wrong: "a number beyond a double"})
    never = await session.fetchval("select delivery_id from hookd.attempt where event_id = $1", wrong)
    with pytest.raises(CannotRedeliver, match="unrepresentable"):
        await history.redeliver(ORG, subscription, never)
    assert [one.ended for one in (await delivery(history, subscription, never)).attempts] == [
        "unrepresentable"
    ]


@pytest.mark.parametrize(
    ("event_type", "pattern", "fits"),
    [
        ("match.proposed", "match.*", True),
        ("match.proposed.twice", "match.*", True),
        ("matching.proposed", "match.*", False),
        ("match", "match.*", False),
        ("match.proposed", "match.prop*", False),
        ("match_a", "match%", False),
        ("match.proposed", "*", True),
        ("match.proposed", None, True),
    ],
)
async def test_a_type_is_of_a_pattern(
    session: Session, event_type: str, pattern: str | None, fits: bool
) -> None:
    assert await session.fetchval("select hookd.is_of_type($1, $2)", event_type, pattern) is fits
