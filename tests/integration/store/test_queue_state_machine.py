"""Random histories of the queue against a model in memory."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from random import Random
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from daemon.store.results import Held
from tests.support import queue_lab as lab
from tests.support.queue_model import (
    OBSERVED_HOSTS,
    OBSERVED_LANES,
    OBSERVED_SHARES,
    Bucket,
    Model,
    Subscription,
    check_tables,
)

T = TypeVar("T")

ORGS = [UUID(int=n << 64 | 1) for n in (1, 2, 3)]
HOSTS = ["a:443", "b:443"]
TYPES = ["placement.created", "placement.updated", "match.proposed"]
PATTERNS = [
    ("*",),
    ("placement.*",),
    ("placement.created",),
    ("placement.created", "match.*"),
    ("*", "placement.*"),
]
LIMITS = [(1e6, 1e6, 1000), (0.5, 1.0, 2), (5.0, 3.0, 1000), (1000.0, 10.0, 1), (2.0, 2.0, 3)]
RESET = """
truncate hookd.inbox, hookd.delivery, hookd.lease, hookd.lane, hookd.host, hookd.host_share, hookd.interest,
    hookd.subscription, hookd.subscription_secret, hookd.event_key restart identity;
delete from hookd.event; delete from hookd.attempt;
update hookd.inbox_shard set floor = '0', served_at = '-infinity';
"""


# What the database gives depends on random ids, so Hypothesis draws only the seed of a choice among it.
SEEDS = st.integers(0, 2**32 - 1)
OUTCOMES = [
    "ok",
    "ok",
    "busy",
    "hold",
    "slow",
    "unreachable",
    "unreachable",
    "404",
    "gone",
    "exhausted",
    "lost",
    "unsent",
]


class Queue(RuleBasedStateMachine):
    """Everything that can happen to the queue, in any order, in one session or two."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    connection: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.lease = 60.0
        self.run(self.connection.execute(RESET))
        self.now = self.run(lab.advance(self.connection, 3600))
        self.run(self.connection.execute("update hookd.test_clock set now = $1", lab.NOON))
        self.now = lab.NOON

    def run(self, coroutine: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await coroutine

        return self.loop.run_until_complete(awaited())

    # -- subscriptions ------------------------------------------------------------------------------------

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        chance = Random(seed)
        for host in HOSTS:
            self.register(ORGS[0], host, chance.choice(PATTERNS), chance.choice(LIMITS))

    @precondition(lambda self: len(self.model.subscriptions) < 8)
    @rule(
        org=st.sampled_from(ORGS),
        host=st.sampled_from(HOSTS),
        patterns=st.sampled_from(PATTERNS),
        limits=st.sampled_from(LIMITS),
    )
    def register(
        self, org: UUID, host: str, patterns: tuple[str, ...], limits: tuple[float, float, int]
    ) -> None:
        rate, burst, max_in_flight = limits
        id_ = self.run(
            lab.register(
                self.connection,
                org,
                host=host,
                events=patterns,
                rate=rate,
                burst=burst,
                max_in_flight=max_in_flight,
            )
        )
        row = self.run(
            self.connection.fetchrow(
                "select h.* from hookd.lane l join hookd.host h on h.id = l.host_id"
                " where l.subscription_id = $1",
                id_,
            )
        )
        self.model.buckets.setdefault(row["id"], Bucket(row["rate"], row["burst"], row["tokens"], self.now))
        one = self.model.subscriptions[id_] = Subscription(id_, org, row["id"], patterns)
        self.model.activated(one)

    @rule(seed=SEEDS, active=st.booleans())
    def pause_or_resume(self, seed: int, active: bool) -> None:
        one = Random(seed).choice(list(self.model.subscriptions.values()))
        assert self.run(self.connection.fetchval("select hookd.set_active($1, $2, 'asked')", one.id, active))
        (self.model.activated if active else self.model.deactivated)(one)

    @rule(seed=SEEDS, host=st.sampled_from(HOSTS), limits=st.sampled_from(LIMITS))
    def move(self, seed: int, host: str, limits: tuple[float, float, int]) -> None:
        """Give a subscription a URL at another host, or at the one that it has."""
        one = Random(seed).choice(list(self.model.subscriptions.values()))
        rate, burst, max_in_flight = limits
        statement = lab.STATEMENTS["change"]
        given = (one.org, one.id, None, ["url"], f"https://{host}/", host, rate, burst, max_in_flight)
        rest = [None] * (statement.count("$") - len(given))
        changed = self.run(self.connection.fetchval(statement, *given, *rest))
        assert changed == "changed"
        row = self.run(self.connection.fetchrow("select * from hookd.host where name = $1", host))
        self.model.buckets.setdefault(row["id"], Bucket(row["rate"], row["burst"], row["tokens"], self.now))
        self.model.moved(one, row["id"])

    @precondition(lambda self: len(self.model.subscriptions) > 2)
    @rule(seed=SEEDS)
    def remove(self, seed: int) -> None:
        one = Random(seed).choice(list(self.model.subscriptions.values()))
        removed = self.run(self.connection.fetchval(lab.STATEMENTS["remove"], one.org, one.id, None))
        assert removed == "removed"
        self.run(self.connection.execute("delete from hookd.delivery where subscription_id = $1", one.id))
        self.model.removed(one)

    @rule(host=st.sampled_from(HOSTS), limits=st.sampled_from(LIMITS))
    def limit_host(self, host: str, limits: tuple[float, float, int]) -> None:
        rate, burst, max_in_flight = limits
        self.run(
            self.connection.execute(lab.STATEMENTS["limit_hosts"], [host], [rate], [burst], [max_in_flight])
        )
        bucket = self.model.buckets[
            self.run(self.connection.fetchval("select id from hookd.host where name = $1", host))
        ]
        bucket.refill(self.now)
        bucket.rate, bucket.burst, bucket.tokens = rate, burst, min(burst, bucket.tokens)

    # -- events -------------------------------------------------------------------------------------------

    @rule(
        org=st.sampled_from(ORGS),
        type_=st.sampled_from(TYPES),
        wrong=st.integers(0, 5),
        after=st.sampled_from([0, 0, 0, 7, 90]),
    )
    def publish_through_sql(self, org: UUID, type_: str, wrong: int, after: int) -> None:
        more: dict[str, Any] = {"deliver_after": self.now + timedelta(seconds=after)} if after else {}
        id_ = self.run(lab.publish(self.connection, org, type_, **more))
        self.model.published(id_, org, type_, unrepresentable=wrong == 0)

    @rule(org=st.sampled_from(ORGS), type_=st.sampled_from(TYPES), count=st.integers(1, 4))
    def publish_through_the_api(self, org: UUID, type_: str, count: int) -> None:
        for id_ in self.run(lab.publish_ready(self.connection, org, count, type_)):
            self.model.published(id_, org, type_, unrepresentable=False)

    @rule(
        limit=st.sampled_from([1, 2, 500]),
        budget=st.sampled_from([1, 2, 1000]),
        shards=st.sampled_from([1, 8]),
    )
    def route(self, limit: int, budget: int, shards: int) -> None:
        problems = {one.id: "no number" for one in self.model.inbox.values() if one.unrepresentable}
        before = len(self.model.owed)
        count = self.run(lab.route(self.connection, limit, budget, problems=problems, shards=shards))
        assert (count is None) == (not self.model.inbox), "only an empty inbox has nothing to route"
        self.check_routed()
        assert len(self.model.owed) - before <= budget

    def check_routed(self) -> None:
        rows = self.run(self.connection.fetch("select event_id from hookd.inbox"))
        inbox = {row[0] for row in rows}
        deliveries = self.run(
            self.connection.fetch("select id, event_id, subscription_id from hookd.delivery")
        )
        never = self.run(
            self.connection.fetch(
                "select event_id, subscription_id from hookd.attempt where ended = 'unrepresentable'"
            )
        )
        assert len(never) == len({tuple(row) for row in never}), "an unrepresentable event ended twice"
        self.model.routed(
            inbox, {row[0]: (row[1], row[2]) for row in deliveries}, {(row[0], row[1]) for row in never}
        )

    # -- claims and results -------------------------------------------------------------------------------

    @rule(
        probe=st.booleans(),
        batch=st.sampled_from([1, 2, 3, 500]),
        hosts=st.sampled_from([1, 500]),
        lease=st.sampled_from([10, 60]),
    )
    def claim(self, probe: bool, batch: int, hosts: int, lease: float) -> None:
        self.take(probe, batch, hosts, lease)

    def take(self, probe: bool, batch: int, hosts: int, lease: float) -> list[Held]:
        before = {row["id"]: row for row in self.run(self.connection.fetch(OBSERVED_HOSTS))}
        got = self.run(lab.claim(self.connection, batch=batch, hosts=hosts, lease=lease, probe=probe))
        assert len(got) <= batch
        self.model.claimed(got, self.now, lease)
        for row in self.run(self.connection.fetch(OBSERVED_HOSTS)):
            mine = sum(held.host_id == row["id"] for held in got)
            if mine:
                assert row["in_flight"] <= row["max_in_flight"], "more under way than the max_in_flight"
                if before[row["id"]]["open"]:
                    assert (mine, row["in_flight"]) == (1, 1), "a half-open circuit lets one request through"
                if row["owner"] is None:
                    self.check_turns(row, before[row["id"]], got)
        return got

    def check_turns(self, host: Any, before: Any, got: list[Held]) -> None:
        """Check that no organisation has taken more than half of what was free."""
        free = before["max_in_flight"] - before["in_flight"]
        orgs = Counter(
            self.model.subscriptions[one.subscription_id].org for one in got if one.host_id == host["id"]
        )
        assert max(orgs.values()) <= (free + 1) // 2, "an organisation took more than its share"

    @rule(seed=SEEDS)
    def record(self, seed: int) -> None:
        if not self.model.leases:
            return
        chance = Random(seed)
        lease = chance.choice(list(self.model.leases.values()))
        count = chance.randint(1, len(lease.left))
        batch = [self.judge(chance, lease.left[one]) for one in list(lease.left)[:count]]
        late = self.model.dead[:2] if chance.random() < 0.5 else []
        stale = [lab.result(one, chance.choice(["succeeded", "retry"]), delay=1.0) for one in late]
        counted = self.run(lab.record(self.connection, [*batch, *stale], done=False))
        assert counted == [True] * len(batch) + [False] * len(stale)
        for one in batch:
            lease.left.pop(one.delivery_id)
            if one.outcome in ("succeeded", "given_up"):
                self.model.done.add(self.model.owed.pop(one.delivery_id))
            if one.reason == "gone":
                self.model.deactivated(self.model.subscriptions[one.subscription_id])
        if not lease.left:
            del self.model.leases[lease.token]
            self.run(lab.record(self.connection, [], done=True))
            self.run(self.connection.execute("delete from hookd.lease where token = $1", lease.token))

    def judge(self, chance: Random, held: Held) -> Any:
        kind = chance.choice(OUTCOMES)
        delay = chance.choice([0.0, 3.0, 40.0])
        match kind:
            case "ok":
                return lab.result(held)
            case "busy":
                return lab.result(
                    held, "retry", delay=delay, lane="answered_badly", host_failed=False, status=500
                )
            case "hold":
                return lab.result(
                    held,
                    "retry",
                    delay=delay,
                    hold=25.0,
                    lane="answered_badly",
                    host_failed=False,
                    status=429,
                )
            case "slow":
                return lab.result(
                    held, "retry", delay=delay, lane="unanswered", host_failed=False, error="timeout"
                )
            case "unreachable":
                return lab.result(
                    held,
                    "retry",
                    delay=delay,
                    host_failed=True,
                    error="connect_refused",
                    duration=chance.choice([1.0, 5000.0]),
                )
            case "404":
                return lab.result(
                    held, "retry", delay=delay, lane="answered_well", host_failed=False, status=404
                )
            case "gone":
                return lab.result(
                    held, "given_up", reason="gone", lane="answered_well", host_failed=False, status=410
                )
            case "exhausted":
                return lab.result(held, "given_up", reason="exhausted", lane="unanswered", host_failed=False)
            case "lost":
                return lab.result(held, "interrupted", error="interrupted")
            case _:
                return lab.result(held, "unsent")

    @rule(seconds=st.sampled_from([0.001, 0.3, 2.0, 10.0, 61.0, 700.0]))
    def advance(self, seconds: float) -> None:
        self.now = self.run(lab.advance(self.connection, seconds))

    @rule()
    def reap(self) -> None:
        held = self.run(lab.expired(self.connection))
        ended = {token for token, one in self.model.leases.items() if one.until <= self.now}
        assert {(one.token, one.delivery_id) for one in held} == {
            (token, delivery) for token in ended for delivery in self.model.leases[token].left
        }
        if held:
            results = [lab.result(one, "interrupted", error="interrupted") for one in held]
            assert all(self.run(lab.record(self.connection, results)))
        for token in ended:
            self.model.dead.extend(self.model.leases.pop(token).left.values())

    @rule()
    def repair(self) -> None:
        row = self.run(self.connection.fetchrow(lab.STATEMENTS["repair"], 0, 200))
        assert (row["drifted"], row["asleep"]) == (0, 0), "the safety net had something to do"

    # -- what must always be true -------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_or_asleep(self) -> None:
        rows = self.run(self.connection.fetch("select id, lease from hookd.delivery"))
        assert {row["id"] for row in rows} == set(self.model.owed)
        leased = {one: token for token, lease in self.model.leases.items() for one in lease.left}
        assert {row["id"]: row["lease"] for row in rows if row["lease"]} == leased
        hosts = self.run(self.connection.fetch(OBSERVED_HOSTS))
        lanes = self.run(self.connection.fetch(OBSERVED_LANES))
        shares = self.run(self.connection.fetch(OBSERVED_SHARES))
        check_tables(hosts, lanes, shares, self.now)

    def teardown(self) -> None:
        """All goes well from now on: following nothing but `next_due`, everything owed is delivered."""
        if not self.model.subscriptions:
            return
        for one in list(self.model.subscriptions.values()):
            self.run(self.connection.fetchval("select hookd.set_active($1, true, null)", one.id))
            self.model.activated(one)
        while self.model.inbox:
            self.route(500, 1000, 8)
        for lease in list(self.model.leases.values()):
            self.finish(list(lease.left.values()))
        self.model.leases.clear()
        for _ in range(2000):
            got = self.take(False, 500, 500, 60.0) + self.take(True, 500, 500, 60.0)
            if got:
                self.finish(got)
                continue
            row = self.run(self.connection.fetchrow("select * from hookd.next_due()"))
            moments = [one for one in (row["ready"], row["probe"]) if one is not None]
            if not moments:
                break
            self.advance(max(min(moments), 0.0) + 0.001)
        assert not self.model.owed, f"{len(self.model.owed)} deliveries sleep for ever"
        self.nothing_is_lost_or_asleep()

    def finish(self, got: list[Held]) -> None:
        assert all(self.run(lab.record(self.connection, [lab.result(one) for one in got])))
        for one in got:
            self.model.done.add(self.model.owed.pop(one.delivery_id))
            self.model.leases.pop(one.token, None)


@pytest.fixture
def machine(postgres_url: str) -> Iterator[type[Queue]]:
    """The machine with a connection to the test's database."""
    loop = asyncio.new_event_loop()

    async def connect() -> Any:
        connection = await asyncpg.connect(postgres_url, command_timeout=30)
        await lab.prepare(connection)
        return connection

    Queue.loop = loop
    Queue.connection = loop.run_until_complete(connect())
    yield Queue
    loop.run_until_complete(Queue.connection.close())
    loop.close()


SETTINGS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    database=None,
    print_blob=False,
    # Shrinking takes minutes against a real database: a failure shows its history as it was found.
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_random_histories_agree_with_the_model(machine: type[Queue]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_histories_find_naive_floors(machine: type[Queue]) -> None:
    machine.loop.run_until_complete(lab.load_naive(machine.connection, "settle_without_new_lanes"))
    with pytest.raises(AssertionError, match=r"floor|sleep"):
        run_state_machine_as_test(machine, settings=SETTINGS)
