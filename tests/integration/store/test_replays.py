"""Replays on a real Postgres: which events they choose, how fast they are fed, and how they end."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.replayer import Replayer
from daemon.store import replays
from daemon.store.database import Database, open_database
from daemon.store.replays import (
    NoSubscription,
    Replay,
    Replays,
    Selection,
    SelectionTooSlow,
    StillFinding,
    TooManyEvents,
    TooManyReplays,
    drop_cancelled,
    feed,
)
from daemon.store.routing import NO_CLAIM
from daemon.uuid7 import uuid7
from tests.support.postgres import Session
from tests.support.queue_lab import (
    NOON,
    STATEMENTS,
    advance,
    claim,
    claim_any,
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
)

Connect = Callable[[], Awaitable[Session]]
RATE = 10.0
ALL = Selection(NOON - timedelta(hours=1), NOON + timedelta(hours=1))


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


class Lab:
    """Replays of a database; `rings` counts how often the feeder was called."""

    def __init__(self, database: Database, session: Session, org: UUID | None = None) -> None:
        self.database = database
        self.session = session
        self.rings = 0
        self.org = org or uuid4()
        self.store = Replays(database, changed=self._ring)
        self._last: dict[UUID, UUID] = {}

    def _ring(self) -> None:
        self.rings += 1

    def at_another_daemon(self) -> "Lab":
        return Lab(self.database, self.session, self.org)

    async def ask(self, subscription: UUID, selection: Selection = ALL) -> Replay:
        return await self.store.ask(
            replay_id=uuid7(), org_id=self.org, subscription_id=subscription, selection=selection
        )

    async def count(self, subscription: UUID, selection: Selection = ALL) -> int:
        return await self.store.count(org_id=self.org, subscription_id=subscription, selection=selection)

    async def read(self, replay: Replay) -> Replay:
        found = await self.store.get(self.org, replay.subscription_id, replay.id)
        assert found is not None
        return found

    async def feed(self, rate: float = RATE) -> int:
        round_ = await feed(self.database, rate, self._last)
        self._last |= round_.last
        return round_.made

    async def past(self, count: int, type_: str = "t") -> list[UUID]:
        """Publish events, route them to whoever wants them, and let a second pass."""
        ids = await publish_ready(self.session, self.org, count, type_)
        await route_all(self.session)
        await advance(self.session, 1)
        return sorted(ids)  # the clock stood still

    async def deliver(self, outcome: str = "succeeded", **more: object) -> list[UUID]:
        """Claim what is due, record the outcome for all of it, and return the events."""
        held = await claim_any(self.session)
        if held:
            await record(self.session, [result(one, outcome, **more) for one in held])
        return [one.event_id for one in held]

    async def run(self, replay: Replay, rate: float = 1000.0) -> list[UUID]:
        """Feed and deliver until the replay is done; return the events as they were delivered."""
        sent: list[UUID] = []
        for _ in range(1000):
            made = await self.feed(rate)
            await advance(self.session, 0.1)
            sent += await self.deliver()
            if not made and (await self.read(replay)).status == "done":
                return sent
        raise AssertionError(f"not done: {await self.read(replay)}")

    async def pending(self) -> list[UUID]:
        rows = await self.session.fetch("select event_id from hookd.delivery order by due, id")
        return [row[0] for row in rows]


@pytest.fixture
async def lab(database: Database, session: Session) -> Lab:
    return Lab(database, session)


async def test_a_new_subscription_is_backfilled_in_the_order_of_the_events(lab: Lab) -> None:
    events = await lab.past(30)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    assert await lab.count(subscription) == 30
    replay = await lab.ask(subscription)
    assert (replay.status, replay.total, replay.queued, lab.rings) == ("running", 30, 0, 1)
    assert await lab.feed() == 10
    assert await lab.pending() == events[:10]
    assert sorted(await lab.run(replay)) == events
    ended = await lab.read(replay)
    assert (ended.status, ended.total, ended.queued, ended.skipped) == ("done", 30, 30, 0)
    assert ended.ended_at is not None
    assert await lab.session.fetchval("select count(*) from hookd.replay_event") == 0


async def test_the_count_is_exactly_what_is_sent_and_writes_nothing(lab: Lab) -> None:
    kinds = ("placement.created", "placement.updated", "match.proposed")
    for kind in kinds * 3:
        await lab.past(2, kind)
    rich = await publish(lab.session, lab.org, "placement.created", '{"pay": 100}')
    poor = await publish(lab.session, lab.org, "placement.created", '{"pay": 10}')
    broken = await publish(lab.session, lab.org, "placement.created", '{"pay": 100}')
    await lab.session.execute("begin")
    await _route_with_bodies(lab.session, {rich: 100, poor: 10}, broken)
    await lab.session.execute("commit")
    await advance(lab.session, 1)
    await publish_ready(lab.session, uuid4(), 5, "placement.created")
    await route_all(lab.session)
    wants = await register(lab.session, lab.org, events=["placement.*"])
    filtered = await register(
        lab.session, lab.org, events=["placement.created"], filter="$.pay > 50", host="two.example:443"
    )
    waiting = await publish_ready(lab.session, lab.org, 3, "placement.created")
    later = Selection(NOON + timedelta(seconds=4), ALL.until)
    cases: list[tuple[UUID, Selection, int]] = [
        (wants, ALL, 14),
        (wants, Selection(ALL.since, ALL.until, patterns=["placement.updated"]), 6),
        (wants, Selection(ALL.since, ALL.until, patterns=["*"]), 14),
        (wants, Selection(ALL.since, ALL.until, patterns=["match.*"]), 0),
        (wants, later, 8),
        (wants, Selection(NOON - timedelta(days=2), NOON - timedelta(days=1)), 0),
        (filtered, ALL, 1),
    ]
    counts = [await lab.count(subscription, selection) for subscription, selection, _ in cases]
    assert counts == [expected for _, _, expected in cases]
    assert await lab.session.fetchval("select count(*) from hookd.replay") == 0
    await route_all(lab.session)  # what was waiting is routed as ever
    await lab.deliver()
    sent: set[UUID] = set()
    for (subscription, selection, _), count in zip(cases, counts, strict=True):
        await prove(lab.session)
        replay = await lab.ask(subscription, selection)
        # what has been routed meanwhile belongs to the past now
        extra = 3 if selection in (ALL, later) and subscription == wants else 0
        extra += 3 if selection.patterns == ["*"] else 0
        assert replay.total == count + extra
        sent |= set(await lab.run(replay)) if replay.status == "running" else set()
    assert set(waiting) <= sent
    assert {rich, poor} <= sent
    assert broken not in sent


async def _route_with_bodies(session: Session, pays: dict[UUID, int], broken: UUID) -> None:
    """Route events from SQL with the bodies that the router would write."""
    while rows := await session.fetch(STATEMENTS["open_shards"], 500, 1, None):
        raw = [row for row in rows if row["event_id"] is not None]
        await session.fetchval(
            STATEMENTS["route"],
            [row["shard"] for row in rows],
            500,
            1000,
            [row["event_id"] for row in raw],
            [row["org_id"] for row in raw],
            [
                None if row["event_id"] == broken else f'{{"data":{{"pay":{pays[row["event_id"]]}}}}}'
                for row in raw
            ],
            ["too large a number" if row["event_id"] == broken else None for row in raw],
            *NO_CLAIM.arguments,
        )


async def test_events_that_are_still_to_be_routed_are_left_to_the_router(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    [waits] = await publish_ready(lab.session, lab.org, 1)
    assert (await lab.ask(subscription)).status == "done"
    await route_all(lab.session)
    assert await lab.pending() == [waits]
    assert await lab.count(subscription) == 1


async def test_what_is_owed_for_later_is_not_sent_at_once(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    later = await publish(lab.session, lab.org, deliver_after=NOON + timedelta(days=365))
    [soon] = await lab.past(1)
    assert await lab.deliver() == [soon]
    assert await lab.count(subscription) == 1
    replay = await lab.ask(subscription)
    assert await lab.run(replay) == [soon]
    assert await lab.pending() == [later]


async def test_what_failed_and_waits_is_replayed_all_the_same(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    await lab.past(1)
    await lab.deliver("retry", delay=3600.0)
    assert await lab.count(subscription) == 1


async def test_an_event_whose_router_does_not_know_of_the_subscription_is_replayed(
    lab: Lab, connect: Connect
) -> None:
    router = await connect()
    [event] = await publish_ready(lab.session, lab.org, 1)
    await router.begin()
    assert await route_shards(router) == 1
    subscription = await register(lab.session, lab.org)
    counts: list[int] = []
    asked: list[Replay] = []

    async def count() -> None:
        counts.append(await lab.at_another_daemon().count(subscription))

    async def ask() -> None:
        asked.append(await lab.ask(subscription))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        nursery.start_soon(ask)
        with trio.fail_after(10):
            # What is awaited happens in another process, so there is no event to wait for.
            while await _blocked_by(lab.session, router) < 1:  # noqa: ASYNC110
                await trio.sleep(0.002)
        await router.commit()
    assert (counts, asked[0].total) == ([1], 1)
    assert await lab.session.fetchval("select event_id from hookd.replay_event") == event


async def _blocked_by(session: Session, other: Session) -> int:
    """Return how many sessions wait for a lock of `other`."""
    found: int = await session.fetchval(
        "select count(*) from pg_stat_activity where $1 = any (pg_blocking_pids(pid))", other.pid
    )
    return found


async def test_routing_goes_on_while_the_events_are_chosen(lab: Lab, connect: Connect) -> None:
    other = await connect()
    subscription = await register(lab.session, lab.org)
    await publish_ready(lab.session, lab.org, 1)
    await other.begin()
    await other.execute(STATEMENTS["settle_routing"], lab.org)
    assert await route(lab.session) is None, "not into what is being settled"
    await other.commit()
    assert await lab.count(subscription) == 0
    assert await route(lab.session) == 1, "nothing is locked any more"


async def test_a_paused_subscription_is_replayed_what_the_router_will_not_bring(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    await lab.session.fetchval("select hookd.set_active($1, false, 'paused')", subscription)
    await publish_ready(lab.session, lab.org, 1)
    assert await lab.count(subscription) == 1


async def test_a_wide_fan_out_that_has_passed_the_subscription_counts_as_routed(lab: Lab) -> None:
    early, late = sorted([uuid4(), uuid4()])
    for one in (early, late):
        await register(lab.session, lab.org, subscription_id=one)
    await publish_ready(lab.session, lab.org, 1)
    await lab.session.execute("update hookd.inbox set routed_to = $1", early)
    assert [await lab.count(early), await lab.count(late)] == [1, 0]


@pytest.mark.parametrize("pattern", ["*", "a.*", "a.b.*", "a", "a.b", "a.b.c", "ab.*", "b"])
async def test_replays_read_patterns_as_routing_does(session: Session, pattern: str) -> None:
    types = ["a", "ab", "a.b", "a.bc", "a.b.c", "ab.c", "b"]
    rows = await session.fetch(
        """
        select t, $1 = any (hookd.patterns(t)) as routed,
            t = any (array[$1]) or t ^@ any (hookd.prefixes(array[$1])) as replayed
        from unnest($2::text[]) t
        """,
        pattern,
        types,
    )
    assert [row["t"] for row in rows if row["replayed"]] == [row["t"] for row in rows if row["routed"]]


async def test_only_failed_takes_what_was_given_up_and_is_not_on_its_way_again(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    other = await register(lab.session, lab.org, host="two.example:443")
    await prove(lab.session)
    ids = await publish_ready(lab.session, lab.org, 5)
    await route_all(lab.session)
    await advance(lab.session, 1)
    held = await claim_any(lab.session)
    mine = {one.event_id: one for one in held if one.subscription_id == subscription}
    outcomes = [
        result(mine[ids[0]]),
        result(mine[ids[1]], "given_up", reason="exhausted"),
        result(mine[ids[2]], "given_up", reason="exhausted"),
        result(mine[ids[3]], "retry", delay=3600.0),
        result(mine[ids[4]], "given_up", reason="exhausted"),
    ]
    theirs = [result(one, "given_up", reason="exhausted") for one in held if one.subscription_id == other]
    await record(lab.session, outcomes + theirs)
    # the third has been sent again since, with success; the fifth is being sent again
    await lab.session.execute(
        "insert into hookd.delivery (id, subscription_id, event_id, due) select gen_random_uuid(), $1, e, $3"
        " from unnest($2::uuid[]) e",
        subscription,
        [ids[2]],
        NOON,
    )
    await lab.session.fetchval("select hookd.repair(0, 100)")
    await lab.deliver()
    await lab.session.execute(
        "insert into hookd.delivery (id, subscription_id, event_id, due)"
        " values (gen_random_uuid(), $1, $2, $3)",
        subscription,
        ids[4],
        NOON + timedelta(hours=1),
    )
    failed = Selection(ALL.since, ALL.until, only_failed=True)
    assert await lab.count(subscription, failed) == 1
    assert await lab.count(subscription, Selection(NOON + timedelta(seconds=1), ALL.until, True)) == 0
    replay = await lab.ask(subscription, failed)
    assert replay.total == 1
    assert await lab.count(subscription, failed) == 0, "it is written down already"
    rows = await lab.session.fetch("select event_id from hookd.replay_event")
    assert [row[0] for row in rows] == [ids[1]]


async def test_two_daemons_do_not_double_the_rate(lab: Lab, connect: Connect) -> None:
    await lab.past(40)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    other = await connect()
    made = [await lab.feed(), await lab.feed()]
    assert made == [10, 0], "a second's worth at most, whoever asks"
    await advance(lab.session, 0.55)
    await lab.deliver()
    await lab.session.begin()
    first = await lab.session.fetchrow(STATEMENTS["feed_replay"], replay.id, RATE, None)
    assert first is not None
    async with trio.open_nursery() as nursery:
        second: list[int] = []

        async def feed_too() -> None:
            row = await other.fetchrow(STATEMENTS["feed_replay"], replay.id, RATE, None)
            assert row is not None
            second.append(row["fed"])

        nursery.start_soon(feed_too)
        await other.wait_blocked(by=lab.session)
        await lab.session.commit()
    assert (first["fed"], second) == (5, [0])
    await advance(lab.session, 0.05)  # with the rest of 0.55 s that is one more
    await lab.deliver()
    assert await lab.feed() == 1


async def test_what_the_lane_owes_now_comes_first(lab: Lab) -> None:
    await lab.past(40)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    await lab.ask(subscription)
    await lab.session.execute("update hookd.lane set window_size = 8")
    await lab.past(3)  # live ones
    assert await lab.feed() == 1, "half of the window of 8, less what is due"
    held = await claim_any(lab.session)
    assert len(held) == 4
    await advance(lab.session, 10)
    assert await lab.feed() == 0, "half of the window is under way"
    await record(lab.session, [result(one) for one in held[:2]])  # the window has grown to 10
    assert await lab.feed() == 3


@pytest.mark.parametrize(
    "obstacle",
    [
        "update hookd.lane set active = false",
        "update hookd.lane set hold_until = hookd.clock() + interval '1 minute'",
        "update hookd.host set circuit_failures = 5",
        "update hookd.lane set rate = 1, paced_until = hookd.clock() + interval '1 minute'",
        """
        insert into hookd.delivery (id, subscription_id, event_id, due)
        select gen_random_uuid(), subscription_id, gen_random_uuid(), hookd.clock()
        from hookd.lane, generate_series(1, 50)
        """,
    ],
)
async def test_a_replay_waits_while_its_events_could_not_be_sent(lab: Lab, obstacle: str) -> None:
    await lab.past(20)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    await lab.session.execute("update hookd.lane set floor = '-infinity'")
    await lab.session.execute(obstacle)
    assert await lab.feed() == 0
    assert (await lab.read(replay)).status == "running"
    row = await lab.session.fetchrow(STATEMENTS["feed_replay"], replay.id, RATE, None)
    assert row is not None and row["fed"] == 0


async def test_a_full_host_still_lets_one_through(lab: Lab) -> None:
    await lab.past(20)
    subscription = await register(lab.session, lab.org, max_in_flight=10, burst=10.0, rate=10.0)
    await prove(lab.session)
    await lab.ask(subscription)
    await lab.session.execute("update hookd.host set in_flight = 10, tokens = 0")
    assert await lab.feed() == 1
    await advance(lab.session, 1)
    assert await lab.feed() == 0, "the one is due"


async def test_a_lane_that_only_fails_gets_one_a_minute_until_one_succeeds(lab: Lab) -> None:
    await lab.past(20)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    await lab.session.execute("update hookd.lane set failing_since = hookd.clock()")
    await lab.ask(subscription)
    assert await lab.feed() == 1
    assert len(await lab.deliver("retry", delay=3600.0, lane="answered_badly")) == 1
    await advance(lab.session, 59)
    assert await lab.feed() == 0
    await advance(lab.session, 1)
    assert await lab.feed() == 1
    assert len(await lab.deliver()) == 1
    await advance(lab.session, 1)
    await prove(lab.session)
    assert await lab.feed() == 10


async def test_a_subscription_in_strict_order_gets_one_when_nothing_is_owed(lab: Lab) -> None:
    await lab.past(3)
    subscription = await register(lab.session, lab.org, ordered=True)
    await lab.ask(subscription)
    assert [await lab.feed(), await lab.feed()] == [1, 0]
    await advance(lab.session, 1)
    await lab.deliver("retry", delay=60.0)
    assert await lab.feed() == 0, "the first is still owed"
    await advance(lab.session, 60)
    await lab.deliver()
    assert await lab.feed() == 1


async def test_what_is_owed_for_later_does_not_stop_a_replay_in_strict_order(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org, ordered=True)
    await publish(lab.session, lab.org, deliver_after=NOON + timedelta(days=365))
    events = await lab.past(2)
    assert [await lab.deliver(), await lab.deliver()] == [events[:1], events[1:]]
    assert await lab.run(await lab.ask(subscription)) == events


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("outcome", ["retry", "interrupted", "unsent"])
async def test_what_a_cancelled_replay_was_sending_is_not_sent_again(
    lab: Lab, outcome: str, ordered: bool
) -> None:
    await lab.past(2)
    subscription = await register(lab.session, lab.org, ordered=ordered)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    assert await lab.feed() == (1 if ordered else 2)
    held = await claim_any(lab.session)
    assert len(held) == (1 if ordered else 2)
    assert (await lab.store.cancel(lab.org, subscription, replay.id)) is not None
    [live] = await lab.past(1)
    more: dict[str, object] = {"delay": 3600.0, "status": 500} if outcome == "retry" else {}
    if outcome == "unsent":
        more = {"started": None, "duration": None}
    assert await record(lab.session, [result(one, outcome, **more) for one in held]) == [True] * len(held)
    assert await lab.pending() == [live]
    rows = await lab.session.fetch("select * from hookd.attempt order by event_id")
    assert {row["ended"] for row in rows} == {"cancelled"}
    assert {row["attempt"] for row in rows} == {0 if outcome == "unsent" else 1}
    assert {row["next_attempt_at"] for row in rows} == {None}
    assert [row["event_id"] for row in rows] == sorted(one.event_id for one in held)
    assert await lab.deliver() == [live], "the lane does not wait for what is over"
    state = await lab.session.fetchrow(
        "select l.in_flight, h.in_flight as at_host from hookd.lane l join hookd.host h on h.id = l.host_id"
    )
    assert state is not None
    assert tuple(state) == (0, 0)


async def test_a_result_that_does_not_know_of_the_cancellation_is_waited_for(
    lab: Lab, connect: Connect
) -> None:
    other = await connect()
    await lab.past(1)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    assert await lab.feed() == 1
    [held] = await claim_any(lab.session)
    await other.begin()
    await record(other, [result(held, "retry", delay=60.0)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lab.store.cancel, lab.org, subscription, replay.id)
        with trio.fail_after(10):
            # What is awaited happens in another process, so there is no event to wait for.
            while not await _blocked_by(lab.session, other):  # noqa: ASYNC110
                await trio.sleep(0.002)
        await other.commit()
    assert await lab.pending() == []


async def test_a_replay_that_is_done_and_still_owes_is_cancelled(lab: Lab) -> None:
    events = await lab.past(3)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    await lab.feed()
    assert (await lab.read(replay)).status == "done"
    [sent] = await claim(lab.session, batch=1)
    ended = await lab.store.cancel(lab.org, subscription, replay.id)
    assert ended is not None
    assert (ended.status, ended.queued, ended.skipped) == ("cancelled", 3, 0)
    assert await lab.pending() == [sent.event_id]
    assert sent.event_id in events


async def test_a_replay_of_which_all_is_being_sent_is_cancelled(lab: Lab) -> None:
    await lab.past(1)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    await lab.feed()
    [held] = await claim_any(lab.session)
    await lab.store.cancel(lab.org, subscription, replay.id)
    assert (await lab.read(replay)).status == "cancelled"
    await record(lab.session, [result(held)])
    assert await lab.session.fetchval("select ended from hookd.attempt") == "succeeded"


async def test_a_cancelled_replay_gives_up_what_nobody_sends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "GIVE_UP_AT_ONCE", 2)
    monkeypatch.setattr(replays, "DROP_AT_ONCE", 12)
    events = await lab.past(40)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    other = await register(lab.session, lab.org, host="two.example:443")
    replay, neighbour = await lab.ask(subscription), await lab.ask(other)
    [live] = await lab.past(1)
    await lab.session.execute("update hookd.lane set window_size = 10")
    assert await lab.feed() == 8
    held = await claim(lab.session, batch=3)
    assert await lab.store.cancel(uuid4(), subscription, replay.id) is None
    assert (await lab.read(replay)).status == "running"
    ended = await lab.store.cancel(lab.org, subscription, replay.id)
    assert ended is not None
    assert (ended.status, ended.queued, ended.skipped) == ("cancelled", 4, 36)
    assert await lab.store.cancel(lab.org, subscription, replay.id) == ended
    given_up = await lab.session.fetch(
        "select * from hookd.attempt where ended = 'cancelled' order by event_id"
    )
    sent = [one.event_id for one in held]
    assert [one["event_id"] for one in given_up] == [one for one in events[:4] if one not in sent]
    assert {one["error"] for one in given_up} == {"cancelled"}
    left = await lab.session.fetch(
        "select event_id from hookd.delivery where subscription_id = $1", subscription
    )
    assert {row[0] for row in left} == {live, *sent}
    assert [await drop_cancelled(lab.database) for _ in range(4)] == [12, 12, 12, 0]
    assert await lab.session.fetchval("select count(*) from hookd.replay_event") == 36
    await record(lab.session, [result(one) for one in held])
    await advance(lab.session, 1)
    await lab.deliver()
    assert await lab.feed() > 0, "the neighbour goes on"
    assert (await lab.read(neighbour)).status == "running"
    rows = await lab.session.fetch("select h.in_flight from hookd.host h")
    assert {row[0] for row in rows} == {0}


async def test_a_replay_that_is_done_is_not_cancelled(lab: Lab) -> None:
    subscription = await register(lab.session, lab.org)
    replay = await lab.ask(subscription)
    assert replay.status == "done"
    assert await lab.store.cancel(lab.org, subscription, replay.id) == replay
    await lab.past(2)
    sent = await lab.ask(subscription)
    await prove(lab.session)
    await lab.run(sent)
    ended = await lab.store.cancel(lab.org, subscription, sent.id)
    assert ended is not None
    assert (ended.status, ended.queued) == ("done", 2)


async def test_a_deleted_subscription_ends_its_replays(lab: Lab) -> None:
    await lab.past(20)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    await lab.feed()
    assert await lab.session.fetchval("select hookd.remove($1, $2)", lab.org, subscription)
    await advance(lab.session, 1)
    assert await lab.feed() == 0
    ended = await lab.session.fetchrow(
        "select ended, queued, skipped from hookd.replay where id = $1", replay.id
    )
    assert ended is not None and tuple(ended) == ("cancelled", 10, 10)
    assert await drop_cancelled(lab.database) == 10
    assert await drop_cancelled(lab.database) == 0


async def test_events_that_have_expired_meanwhile_are_skipped(lab: Lab) -> None:
    events = await lab.past(20)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    await lab.session.execute("delete from hookd.event where id = any ($1)", events[3:9])
    assert sorted(await lab.run(replay)) == events[:3] + events[9:]
    ended = await lab.read(replay)
    assert (ended.status, ended.queued, ended.skipped) == ("done", 14, 6)


async def test_a_round_reads_a_few_rows_also_with_plans_from_an_empty_queue(lab: Lab) -> None:
    await lab.past(60)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    replay = await lab.ask(subscription)
    for _ in range(6):  # by then the session has settled on its plans
        await lab.session.execute("update hookd.replay set fed_at = '-infinity'")
        await lab.session.execute("delete from hookd.delivery")
        row = await lab.session.fetchrow(STATEMENTS["feed_replay"], replay.id, 8.0, None)
        assert row is not None and row["fed"] == 8
    await lab.session.execute(
        """
        insert into hookd.replay_event select $1, hookd.uuid7(hookd.clock()) from generate_series(1, 50000)
        """,
        replay.id,
    )
    await lab.session.execute("update hookd.replay set fed_at = '-infinity', total = total + 50000")
    await lab.session.execute("delete from hookd.delivery")
    await lab.session.begin()
    before = await _rows_read(lab.session)
    row = await lab.session.fetchrow(STATEMENTS["feed_replay"], replay.id, 8.0, None)
    assert row is not None and row["fed"] == 8
    assert await _rows_read(lab.session) - before < 150
    await lab.session.rollback()


async def _rows_read(session: Session) -> int:
    """Return how many rows the session has read and not yet reported to the server's statistics."""
    found: int = await session.fetchval(
        """
        select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables
        where schemaname = 'hookd' and relname <> 'test_clock'
        """
    )
    return found


async def test_how_much_may_be_asked_for_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.past(6)
    subscription = await register(lab.session, lab.org)
    monkeypatch.setattr(replays, "MAX_EVENTS", 5)
    for asking in (lab.ask, lab.count):
        with pytest.raises(TooManyEvents):
            await asking(subscription)
    monkeypatch.setattr(replays, "MAX_EVENTS", 6)
    for _ in range(replays.MAX_RUNNING):
        await lab.ask(subscription)
    with pytest.raises(TooManyReplays):
        await lab.ask(subscription)
    with pytest.raises(NoSubscription):
        await lab.store.ask(replay_id=uuid7(), org_id=uuid4(), subscription_id=subscription, selection=ALL)
    listed = await lab.store.page(lab.org, subscription, limit=2, before=None)
    rest = await lab.store.page(lab.org, subscription, limit=2, before=listed[-1].id)
    assert [len(listed), len(rest)] == [2, 1]
    assert sorted((one.id for one in [*listed, *rest]), reverse=True) == [one.id for one in [*listed, *rest]]


async def test_the_replays_of_an_organisation_are_bounded_also_when_asked_for_at_once(
    lab: Lab, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MAX_RUNNING_OF_ORGANISATION", 2)
    await lab.past(1)
    subscriptions = [await register(lab.session, lab.org) for _ in range(4)]
    other = await connect()
    await lab.ask(subscriptions[0])
    refused: list[int] = []

    async def ask(subscription: UUID) -> None:
        try:
            await lab.at_another_daemon().ask(subscription)
        except TooManyReplays as error:
            refused.append(error.limit)

    await other.begin()
    await other.execute("lock table hookd.replay_event in share mode")  # all stop before they write
    async with trio.open_nursery() as nursery:
        for one in subscriptions[1:]:
            nursery.start_soon(ask, one)
        with trio.fail_after(10):
            # What is awaited happens in another process, so there is no event to wait for.
            while await _waiting(lab.session) < 3:  # noqa: ASYNC110
                await trio.sleep(0.002)
        await other.commit()
    assert refused == [2, 2]
    with pytest.raises(TooManyReplays, match="organisation"):
        await lab.ask(subscriptions[0])
    assert await lab.session.fetchval("select count(*) from hookd.replay") == 2


async def _waiting(session: Session) -> int:
    """Return how many sessions of the database wait for a lock."""
    found: int = await session.fetchval(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    return found


async def test_searches_leave_connections_to_others(lab: Lab, connect: Connect) -> None:
    """However many ask at once: one of an organisation, and two in all."""
    orgs = [uuid4() for _ in range(4)]
    subscriptions = {org: await register(lab.session, org) for org in orgs}
    watcher = await connect()

    async def count(org: UUID) -> int:
        return await lab.store.count(org_id=org, subscription_id=subscriptions[org], selection=ALL)

    await lab.session.begin()
    await lab.session.execute("lock table hookd.event in access exclusive mode")
    async with trio.open_nursery() as nursery:
        for org in orgs:
            nursery.start_soon(count, org)
        while await _waiting(watcher) < 2:  # noqa: ASYNC110  (Postgres tells nobody)
            await trio.sleep(0.01)
        for org in orgs:
            with pytest.raises(StillFinding):
                await count(org)
        assert await _waiting(watcher) == 2
        await lab.session.rollback()
    assert await count(orgs[0]) == 0


async def test_a_selection_that_takes_too_long_leaves_nothing(lab: Lab, postgres_url: str) -> None:
    await lab.past(3)
    subscription = await register(lab.session, lab.org)
    async with open_database(postgres_url, command_timeout=0.2) as hasty:
        store = Replays(hasty, changed=lambda: None)
        await lab.session.begin()
        await lab.session.execute("lock table hookd.event in access exclusive mode")
        with pytest.raises(SelectionTooSlow):
            await store.ask(replay_id=uuid7(), org_id=lab.org, subscription_id=subscription, selection=ALL)
        with pytest.raises(SelectionTooSlow):
            await store.count(org_id=lab.org, subscription_id=subscription, selection=ALL)
        await lab.session.rollback()
        await lab.session.begin()
        await lab.session.execute("select from hookd.inbox_shard for no key update")
        with pytest.raises(SelectionTooSlow):
            await store.ask(replay_id=uuid7(), org_id=lab.org, subscription_id=subscription, selection=ALL)
        await lab.session.rollback()
    assert await lab.session.fetchval("select count(*) from hookd.replay_event") == 0
    assert await lab.session.fetchval("select count(*) from hookd.replay") == 0


async def test_the_feeder_works_when_woken_and_ends_when_told(lab: Lab) -> None:
    await lab.past(5)
    subscription = await register(lab.session, lab.org)
    await prove(lab.session)
    event, stopping, made = AutoResetEvent(), trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Replayer(lab.database, rate=lambda: 1000.0, wake=event, fed=made.set).run, stopping
        )
        replay = await lab.ask(subscription)
        event.set()
        with trio.fail_after(10):
            await made.wait()
        assert (await lab.read(replay)).status == "done"
        stopping.set()
        event.set()
