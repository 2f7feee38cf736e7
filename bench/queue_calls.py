"""The queue's calls as the daemon makes them, timed, on a queue that was laid out without a daemon."""

import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import median
from uuid import UUID, uuid4

import asyncpg

from bench.filling import small
from bench.hookd import EVENT_TYPE
from bench.postgres import Sql
from bench.processes import times
from bench.report import CannotRun
from daemon.model import LaneEffect, Outcome
from daemon.signing.canonical import event_body
from daemon.store.migrate import migrate
from daemon.store.queue import ClaimRequest
from daemon.store.results import Result, record_arguments, record_statement
from daemon.store.routing import HOLD, NO_CLAIM
from daemon.store.statements import load
from daemon.uuid7 import uuid7

BATCH = 250
"""Deliveries of one claim, as a busy daemon takes them."""
LEASE = 600.0
DISABLE_AFTER = 432_000.0
MICRO = 1e6
STATEMENTS = load("hookd")
RECORD = record_statement(STATEMENTS["record"])
JOIN = """
select hookd.join_host(x.host_id, x.org_id, x.lanes)
from (select host_id, org_id, count(*)::integer as lanes from hookd.lane group by host_id, org_id) x
"""
"""Makes known whose the hosts are, after all lanes of a database were written."""

Call = tuple[float, int]
"""Seconds that a call took, and how many events or deliveries it was about."""


def lay_out(sql: Sql, lanes: int, hosts: int) -> list[UUID]:
    """Make the schema and so many proven lanes, one an organisation, in turn on hosts that may be sent all.

    Returns the organisations.
    """
    sql.run(lambda connection: migrate(connection, STATEMENTS))
    sql.value("select hookd.make_partitions(now() - interval '1 day', now() + interval '1 day')")
    orgs = [row[0] for row in sql.rows(_LAY_OUT, lanes, hosts, EVENT_TYPE)]
    sql.rows(JOIN)
    sql.execute("vacuum analyze")
    return orgs


@dataclass(slots=True)
class Calls:
    """What each call took."""

    publish: list[Call] = field(default_factory=list)
    route: list[Call] = field(default_factory=list)
    claim: list[Call] = field(default_factory=list)
    record: list[Call] = field(default_factory=list)


def each(calls: list[Call]) -> float:
    """Return the median of what the calls took for one, in microseconds."""
    return median(seconds / count for seconds, count in calls) * MICRO


def publish(sql: Sql, calls: list[Call], orgs: list[UUID], events: int, batch: int = BATCH) -> None:
    """Publish events of 450 bytes as the REST API does, in turn for `orgs`."""
    data, turn = small(), cycle(orgs)
    for start in range(0, events, batch):
        count = min(batch, events - start)
        ids = [uuid7() for _ in range(count)]
        bodies = [event_body(one, EVENT_TYPE, data(start + n)) for n, one in enumerate(ids)]
        chosen, nothing = list(islice(turn, count)), [None] * count
        began = time.perf_counter()
        sql.value(STATEMENTS["publish_bodies"], ids, chosen, [EVENT_TYPE] * count, bodies, nothing, nothing)
        calls.append((time.perf_counter() - began, count))


def route(sql: Sql, calls: list[Call]) -> None:
    """Route until the inbox is empty."""
    while True:
        began = time.perf_counter()
        found = sql.rows(STATEMENTS["route_ready"], 500, 1, 1000, HOLD, None, *NO_CLAIM.arguments)
        if not found:
            return
        if events := found[0]["events"]:
            calls.append((time.perf_counter() - began, events))


def claim(sql: Sql, calls: list[Call], batch: int = BATCH) -> tuple[UUID, list[asyncpg.Record]]:
    """Claim as the daemon does; return the lease's token and what it holds."""
    token = uuid4()
    began = time.perf_counter()
    request = ClaimRequest((token, uuid4()), batch, batch // 4, LEASE)
    rows = sql.rows(STATEMENTS["claim_both"], *request.arguments)
    spent = time.perf_counter() - began
    if rows and rows[-1]["delivery_id"] is None:
        rows.pop()
    if rows:
        calls.append((spent, len(rows)))
    return token, rows


def record(sql: Sql, calls: list[Call], token: UUID, rows: list[asyncpg.Record]) -> None:
    """Record that all that was claimed succeeded."""
    arguments = recorded(rows, token)
    began = time.perf_counter()
    sql.rows(RECORD, *arguments)
    calls.append((time.perf_counter() - began, len(rows)))


def drain(sql: Sql, calls: Calls, deliveries: int, batch: int = BATCH) -> None:
    """Claim and record so many deliveries. Error: `CannotRun` where the queue does not give them."""
    done = 0
    while done < deliveries:
        token, rows = claim(sql, calls.claim, min(batch, deliveries - done))
        if not rows:
            raise CannotRun(f"the queue gave no more after {done} of {deliveries} deliveries: report this")
        record(sql, calls.record, token, rows)
        done += len(rows)


@dataclass(frozen=True, slots=True)
class Meter:
    """What a session has spent so far: bytes of the write-ahead log, and its backend's CPU seconds."""

    wal: int
    cpu: float | None

    @classmethod
    def read(cls, sql: Sql) -> "Meter":
        """Look now. The processor time is None where the server is elsewhere."""
        [(lsn, pid, local)] = sql.rows(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, pg_backend_pid(),"
            " inet_server_addr() is null"
        )
        return cls(lsn, times(pid).own if local else None)

    def since(self, before: "Meter", deliveries: int) -> dict[str, float]:
        """Return what was spent since, for one delivery."""
        spent = {"wal_bytes": (self.wal - before.wal) / deliveries}
        if self.cpu is not None and before.cpu is not None:
            spent["backend_cpu_us"] = (self.cpu - before.cpu) / deliveries * MICRO
        return spent


def recorded(rows: list[asyncpg.Record], token: UUID, retry_after: float | None = None) -> tuple[object, ...]:
    """Return the arguments of `RECORD` that say that all succeeded, or that all wait for their retry."""
    failed = retry_after is not None
    results = [
        Result(
            token,
            row["delivery_id"],
            row["subscription_id"],
            row["host_id"],
            row["event_id"],
            row["event_type"],
            row["attempt"],
            Outcome.RETRY if failed else Outcome.SUCCEEDED,
            status=500 if failed else 204,
            error="status_5xx" if failed else None,
            delay=retry_after,
            lane=LaneEffect.ANSWERED_BADLY if failed else LaneEffect.ANSWERED_WELL,
            host_failed=False,
            started=time.time(),
            duration=1.0,
            phases="{NULL,NULL,NULL,0.5}",
        )
        for row in rows
    ]
    return record_arguments(results, [token], DISABLE_AFTER)


_LAY_OUT = """
with h as (
    insert into hookd.host (name, rate, burst, max_in_flight, tokens, refilled_at)
    select 'h' || n || ':443', 1e6, 1e6, 100000, 1e6, now() from generate_series(1, $2::integer) n
    returning id, name),
s as (
    insert into hookd.subscription (id, org_id, url, events, created_at)
    select hookd.uuid7(now()), gen_random_uuid(), 'https://h/', array[$3], now()
    from generate_series(1, $1::integer) returning id, org_id),
i as (insert into hookd.interest (org_id, pattern, subscription_id) select org_id, $3, id from s),
l as (
    insert into hookd.lane (subscription_id, org_id, host_id, proven, window_size)
    select s.id, s.org_id, h.id, true, 1000 from (select id, org_id, row_number() over () as n from s) s
    join (select id, row_number() over () - 1 as n from h) h on h.n = s.n % $2)
select org_id from s
"""
