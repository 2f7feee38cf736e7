"""The queue's SQL functions under plain names, for tests that drive them on connections of their own."""

# ruff: noqa: S608  (statements are put together from a test's own numbers and names)

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

from daemon.filters import path_of
from daemon.model import LaneEffect, Outcome
from daemon.store.database import Connection, Database
from daemon.store.results import Held, Result
from daemon.store.results import record as record_results
from daemon.store.routing import NO_CLAIM, Body, Opened, Round, RoundRequest, next_round, write_round
from daemon.store.statements import load

NAIVE = Path(__file__).parent.parent / "integration" / "store" / "naive"
NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)
"""Where the clock that tests set begins."""
DAYS5 = timedelta(days=5)
STATEMENTS = load("hookd")
CLAIM = "select * from hookd.claim($1, $2, $3, $4, $5)"

SET_CLOCK = """
create table hookd.test_clock (now timestamptz not null);
insert into hookd.test_clock values ('{now}');
create or replace function hookd.clock() returns timestamptz language plpgsql volatile as $$
begin
    -- a session with the setting test.stall stops here until it can have that advisory lock
    if coalesce(current_setting('test.stall', true), '') <> '' then
        perform pg_advisory_xact_lock_shared(current_setting('test.stall')::bigint);
    end if;
    return (select c.now from hookd.test_clock c);
end $$;
select hookd.make_partitions('{now}'::timestamptz - interval '1 week',
    '{now}'::timestamptz + interval '3 weeks');
"""


class Runs(Protocol):
    """What a test's `Session` and asyncpg's connection have in common."""

    async def execute(self, query: str, *arguments: Any) -> str: ...
    async def fetch(self, query: str, *arguments: Any) -> list[Any]: ...
    async def fetchrow(self, query: str, *arguments: Any) -> Any: ...
    async def fetchval(self, query: str, *arguments: Any) -> Any: ...


async def prepare(session: Runs, *, types: Sequence[str] = ()) -> None:
    """Give the database partitions, and the clock that `set_clock` and `advance` move."""
    await session.execute(SET_CLOCK.format(now=NOON.isoformat()))
    await session.execute("update hookd.publishing set types = $1", list(types))


BREAK_FUNCTION = """
create or replace function hookd.break_function(p_name text, p_part text, p_broken text) returns void
language plpgsql as $$
declare
    v_text text := pg_get_functiondef(('hookd.' || p_name)::regproc);
begin
    if strpos(v_text, p_part) = 0 then
        raise exception '% has no such part any more: %', p_name, p_part;
    end if;
    execute replace(v_text, p_part, p_broken);
end $$;
"""
"""Puts something wrong in the place of a part of a function."""


async def load_naive(session: Runs, name: str) -> None:
    """Put a broken variant from `naive/` in the place of the functions it names."""
    await session.execute(BREAK_FUNCTION)
    await session.execute((NAIVE / f"{name}.sql").read_text(encoding="utf-8"))


async def advance(session: Runs, seconds: float) -> datetime:
    """Move the clock and return its new time."""
    now: datetime = await session.fetchval(
        "update hookd.test_clock set now = now + $1 returning now", timedelta(seconds=seconds)
    )
    return now


async def register(
    session: Runs,
    org: UUID,
    *,
    host: str = "one.example:443",
    events: Sequence[str] = ("*",),
    rate: float = 1e6,
    burst: float = 1e6,
    max_in_flight: int = 10_000,
    subscription_id: UUID | None = None,
    filter: str | None = None,  # noqa: A002
    rate_limit: float | None = None,
    ordered: bool = False,
) -> UUID:
    """Register a subscription and return its id."""
    row = await session.fetchrow(
        STATEMENTS["register"],
        subscription_id or await session.fetchval("select hookd.uuid7(hookd.clock())"),
        org,
        f"https://{host}/",
        list(events),
        b"secret",
        100_000,
        host,
        rate,
        burst,
        max_in_flight,
        None,
        None,
        None,
        filter,
        None if filter is None else path_of(filter),
        rate_limit,
        ordered,
        None,
        None,
        True,
    )
    found: UUID = row["id"]
    return found


async def register_many(
    session: Runs,
    org: UUID | None,
    count: int,
    *,
    hosts: int = 1,
    proven: bool = True,
    window: int = 10_000,
    max_in_flight: int = 10_000,
    rate: float = 1e9,
    prefix: str = "h",
) -> None:
    """Register `count` subscriptions on `hosts` new hosts, of one organisation or of one each."""
    owner = f"'{org}'::uuid" if org else "gen_random_uuid()"
    await session.execute(
        f"""
        insert into hookd.host (name, rate, burst, max_in_flight, tokens, refilled_at)
        select '{prefix}' || n, {rate}, {rate}, {max_in_flight}, {rate}, hookd.clock()
        from generate_series(1, {hosts}) n;
        with s as (insert into hookd.subscription (id, org_id, url, events, created_at)
            select hookd.uuid7(hookd.clock()), {owner}, 'https://h/', '{{*}}', hookd.clock()
            from generate_series(1, {count}) returning id, org_id),
        i as (insert into hookd.interest (org_id, pattern, subscription_id) select org_id, '*', id from s)
        insert into hookd.lane (subscription_id, org_id, host_id, proven, window_size)
        select s.id, s.org_id, h.id, {proven}, {window}
        from (select id, org_id, row_number() over () as n from s) s
        join hookd.host h on h.name = '{prefix}' || 1 + s.n % {hosts};
        {JOIN.format(prefix=prefix)}
        """
    )


JOIN = """
select hookd.join_host(x.host_id, x.org_id, x.lanes) from (
    select l.host_id, l.org_id, count(*)::integer as lanes
    from hookd.lane l join hookd.host h on h.id = l.host_id where h.name ~ '^{prefix}' group by 1, 2) x;
"""
"""Makes known whose the hosts are whose names begin so, after lanes were written."""


async def publish(session: Runs, org: UUID, type_: str = "t", data: str = "{}", **more: Any) -> UUID:
    """Publish through SQL, as a publisher's own transaction does."""
    names = "".join(f", {name} => ${number}" for number, name in enumerate(more, 4))
    found: UUID = await session.fetchval(
        f"select hookd.publish($1, $2, $3::jsonb{names})", org, type_, data, *more.values()
    )
    return found


async def publish_ready(session: Runs, org: UUID, count: int = 1, type_: str = "t") -> list[UUID]:
    """Publish `count` events whose bodies are ready, as the REST API does."""
    ids = [
        row[0]
        for row in await session.fetch("select hookd.uuid7(hookd.clock()) from generate_series(1, $1)", count)
    ]
    none = [None] * count
    return list(
        await session.fetchval(
            STATEMENTS["publish_bodies"], ids, [org] * count, [type_] * count, ["{}"] * count, none, none
        )
    )


async def of_one_shard(session: Runs, count: int) -> list[UUID]:
    """Register as many organisations of one shard, each with a lane in strict order."""
    orgs: list[UUID] = [uuid4()]
    while len(orgs) < count:
        org = uuid4()
        if await session.fetchval("select uuid_hash($1) & 31 = uuid_hash($2) & 31", org, orgs[0]):
            orgs.append(org)
    for org in orgs:
        await register(session, org)
    await session.execute("update hookd.lane set ordered = true")
    return orgs


async def of_many_shards(session: Runs, count: int) -> list[UUID]:
    """Register as many organisations, each of another shard, with a lane in strict order."""
    found: dict[int, UUID] = {}
    while len(found) < count:
        org = uuid4()
        found.setdefault(await session.fetchval("select uuid_hash($1) & 31", org), org)
    for org in found.values():
        await register(session, org)
    await session.execute("update hookd.lane set ordered = true")
    return list(found.values())


async def waiting(session: Runs, org: UUID) -> int:
    """Return how many of its events have not been routed."""
    count: int = await session.fetchval("select count(*) from hookd.inbox where org_id = $1", org)
    return count


async def burst(session: Runs, org: UUID, count: int) -> None:
    """Publish through SQL at once."""
    await session.execute(
        "select hookd.publish_batch($1, array_fill('t'::text, array[$2::integer]),"
        " array_fill('{}'::jsonb, array[$2::integer]))",
        org,
        count,
    )


async def route_shards(
    session: Runs,
    limit: int = 500,
    budget: int = 1000,
    problems: Mapping[UUID, str] | None = None,
    shards: int = 1,
) -> int | None:
    """Route so many shards in a transaction that the caller began; None if none had anything."""
    rows = await session.fetch(STATEMENTS["open_shards"], limit, shards, None)
    if not rows:
        return None
    raw = [row["event_id"] for row in rows if row["event_id"] is not None]
    orgs = [row["org_id"] for row in rows if row["event_id"] is not None]
    wrong = [(problems or {}).get(one) for one in raw]
    count: int = await session.fetchval(
        STATEMENTS["route"],
        list(dict.fromkeys(row["shard"] for row in rows)),
        limit,
        budget,
        raw,
        orgs,
        [None if problem else '{"ready": true}' for problem in wrong],
        wrong,
        *NO_CLAIM.arguments,
    )
    return count


async def route(session: Runs, limit: int = 500, budget: int = 1000, **more: Any) -> int | None:
    """Route one shard, or as `more` says, in a transaction of its own."""
    await session.execute("begin")
    try:
        count = await route_shards(session, limit, budget, **more)
    except BaseException:
        await session.execute("rollback")
        raise
    await session.execute("commit")
    return count


async def route_all(session: Runs, **more: Any) -> int:
    """Route until no shard has anything; return in how many transactions."""
    rounds = 0
    while await route(session, **more) is not None:
        rounds += 1
    return rounds


async def route_rounds(
    database: Database,
    *,
    bulk: bool,
    events: int = 100,
    deliveries: int = 600,
    text: str | None = None,
) -> list[Round]:
    """Do the rounds that a router does, until nothing is left; events from SQL get that body, or none."""

    async def unit(connection: Connection) -> list[Round]:
        request = RoundRequest(bulk, events, deliveries, NO_CLAIM)
        rounds: list[Round] = []
        while not rounds or rounds[-1].more:
            done = await next_round(database, connection, request)
            if isinstance(done, Opened):
                bodies = [Body(one, text, None if text else "no") for one in done.events]
                done = await write_round(database, connection, done, bodies)
            rounds.append(done)
        return rounds

    return await database.run(unit)


async def claim(
    session: Runs,
    *,
    token: UUID | None = None,
    batch: int = 500,
    hosts: int = 500,
    lease: float = 60.0,
    probe: bool = False,
) -> list[Held]:
    """Claim and return what was leased."""
    token = token or uuid4()
    rows = await session.fetch(CLAIM, token, batch, hosts, timedelta(seconds=lease), probe)
    return [
        Held(
            token,
            r["delivery_id"],
            r["subscription_id"],
            r["host_id"],
            r["event_id"],
            r["event_type"],
            r["attempt"],
        )
        for r in rows
    ]


async def claim_any(session: Runs, **more: Any) -> list[Held]:
    """Claim from proven and from unproven lanes."""
    return [*await claim(session, probe=False, **more), *await claim(session, probe=True, **more)]


def result(held: Held, outcome: str = "succeeded", **more: Any) -> Result:
    """Return what became of a delivery; a success answers well, unless `more` says otherwise."""
    if outcome == "succeeded":
        more = {"lane": LaneEffect.ANSWERED_WELL, "host_failed": False, "status": 200, **more}
    made = held.result(Outcome(outcome))
    return replace(made, **{"started": NOON.timestamp(), "duration": 1.0, **more})


async def record(
    session: Runs, results: Iterable[Result], *, done: bool = True, disable_after: float = 432_000.0
) -> list[bool]:
    """Record `results`, and drop their leases if `done`."""
    listed = list(results)
    tokens = list({one.token for one in listed}) if done else []
    named: Any = _Named()
    written = await record_results(named, session, listed, tokens, disable_after)  # type: ignore[arg-type]
    return written.counted


async def expired(session: Runs) -> list[Held]:
    """Return what leases past their end hold."""
    rows = await session.fetch(STATEMENTS["expired_leases"], 100)
    return [Held(**row) for row in rows if row["delivery_id"] is not None]


async def prove(session: Runs) -> None:
    """Let every lane be one that answered well of late, with much room."""
    await session.execute("update hookd.lane set proven = true, window_size = 10000")


async def unserved(session: Runs) -> int:
    """Return how many deliveries are due and not leased."""
    count: int = await session.fetchval(
        "select count(*) from hookd.delivery where lease is null and due <= hookd.clock()"
    )
    return count


class _Named:
    """The one method of `Database` that `record` needs."""

    def sql(self, name: str) -> str:
        return STATEMENTS[name]
