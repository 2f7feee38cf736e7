"""Draining a queue step by step, and what each step costs: blocks touched, and milliseconds."""

# ruff: noqa: S608  (statements are put together from a test's own numbers and names)

import json
from dataclasses import dataclass, field
from statistics import median
from uuid import uuid4

from tests.support.queue_lab import STATEMENTS, Runs, advance, register_many

CLAIM = "select * from hookd.claim('{token}', {batch}, 1000, '1h', {probe})"
OPEN_SHARDS = "select * from hookd.open_shards(500, 1)"
ROUTE = "select hookd.route(array[{shard}]::smallint[], 500, 1000, '{{}}', '{{}}', '{{}}', '{{}}')"
RECORD = """
select hookd.record(array_agg(h.delivery_id), array_agg(h.token), array_agg(h.subscription_id),
    array_agg(h.host_id),
    array_agg(h.event_id), array_agg(h.event_type), array_agg(h.attempt::integer),
    array_agg('{outcome}'::text),
    array_agg(null::text), array_agg(200), array_agg(null::text), array_agg({delay}::float8),
    array_agg(null::float8),
    array_agg('answered_well'::text), array_agg(false),
    array_agg(extract(epoch from hookd.clock())::float8), array_agg(1.0::float8),
    array_agg(null::text), array_agg(null::text), '{{{token}}}', '5 days')
from hookd.leased('{token}') h
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost: blocks hit or read, and milliseconds."""

    blocks: int
    milliseconds: float


@dataclass(slots=True)
class Costs:
    """The costs of the steps of a drain, each in the order of the calls."""

    route: list[Cost] = field(default_factory=list)
    claim: list[Cost] = field(default_factory=list)
    record: list[Cost] = field(default_factory=list)

    def growth(self, name: str, of: str = "blocks") -> float:
        """Return how many times the first tenth the last tenth costs, by their medians."""
        values = [getattr(cost, of) for cost in getattr(self, name)]
        tenth = max(3, len(values) // 10)
        growth: float = median(values[-tenth:]) / max(1e-9, median(values[:tenth]))
        return growth


async def cost(session: Runs, statement: str) -> Cost:
    """Run `statement`; functions in it use the plans that the session has cached."""
    text = await session.fetchval(f"explain (analyze, buffers, timing off, format json) {statement}")
    (plan,) = json.loads(text)
    node = plan["Plan"]
    return Cost(node["Shared Hit Blocks"] + node["Shared Read Blocks"], plan["Execution Time"])


async def fill_inbox(session: Runs, events: int, *, most: int = 1000) -> None:
    """Publish `events` events with ready bodies, in turn to all organisations there are."""
    orgs = [
        row[0] for row in await session.fetch("select distinct org_id from hookd.subscription order by 1")
    ]
    for start in range(0, events, most):
        count = min(most, events - start)
        chosen = [orgs[(start + n) % len(orgs)] for n in range(count)]
        await session.execute(
            "select hookd.publish_bodies("
            "array(select hookd.uuid7(hookd.clock()) from generate_series(1, $1)), $2,"
            " array_fill('t'::text, array[$1]), array_fill('{}'::text, array[$1]),"
            " array_fill(null::text, array[$1]),"
            " array_fill(null::timestamptz, array[$1]))",
            count,
            chosen,
        )
        await advance(session, 0.001)


async def route_costs(session: Runs, costs: list[Cost]) -> None:
    """Route until the inbox is empty."""
    while True:
        await session.execute("begin")
        rows = await session.fetch(STATEMENTS["open_shards"], 500, 1, None)
        if not rows:
            await session.execute("commit")
            return
        opening = await cost(session, OPEN_SHARDS)
        routing = await cost(session, ROUTE.format(shard=rows[0]["shard"]))
        await session.execute("commit")
        costs.append(Cost(opening.blocks + routing.blocks, opening.milliseconds + routing.milliseconds))
        await advance(session, 0.001)


async def drain(session: Runs, costs: Costs, *, batch: int, most: int | None = None) -> int:
    """Claim and record as succeeded until nothing is owed, or `most` claims were made; return how many."""
    done = 0
    while most is None or len(costs.claim) < most:
        token = uuid4()
        claimed = await cost(session, CLAIM.format(token=token, batch=batch, probe="false"))
        held = await session.fetchval(
            "select cardinality(deliveries) from hookd.lease where token = $1", token
        )
        if not held:
            return done
        done += held
        costs.claim.append(claimed)
        costs.record.append(
            await cost(session, RECORD.format(token=token, outcome="succeeded", delay="null"))
        )
        await advance(session, 0.001)
    return done


async def warm(session: Runs, calls: int = 12) -> None:
    """Let the session cache the plans of all hot functions while the queue is almost empty."""
    await register_many(session, None, 1)
    await fill_inbox(session, 2)
    await route_costs(session, [])
    await fill_inbox(session, 1)
    await session.execute(
        "vacuum analyze"
    )  # as autovacuum does at night: the planner knows of almost no rows
    for _ in range(calls):
        costs = Costs()
        await fill_inbox(session, 1)
        await route_costs(session, costs.route)
        await drain(session, costs, batch=10)


async def fill_queue(session: Runs, deliveries: int, prefix: str) -> None:
    """Put due deliveries on the lanes of the hosts that `register_many` named so, without statistics."""
    await session.execute(
        f"""
        with l as (select subscription_id, row_number() over () - 1 as n, count(*) over () as lanes
            from hookd.lane k join hookd.host h on h.id = k.host_id where h.name ~ '^{prefix}'),
        d as (insert into hookd.event (id, org_id, type, body)
            select hookd.uuid7(hookd.clock() - n % 1000 * interval '1 s'), gen_random_uuid(), 't', '{{}}'
            from generate_series(1, {deliveries}) n returning id),
        e as (select id, row_number() over () as n from d)
        insert into hookd.delivery (id, subscription_id, event_id, due)
        select gen_random_uuid(), l.subscription_id, e.id, hookd.clock() + e.n * interval '1 us'
        from e join l on l.n = e.n % l.lanes;
        """
    )
    await advance(session, 5)
    await session.execute("select hookd.repair(0, 100000)")
