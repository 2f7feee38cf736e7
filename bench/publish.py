"""Publishing events of 450 bytes: through SQL in batches, NDJSON and single requests.

SQL: hookd.publish_batch, 500 events a transaction over one connection, no daemon. NDJSON: one streamed
request to the daemon as shipped, which routes meanwhile; the organisation has no subscriptions. Both against
plain INSERTs of the same rows, 500 a transaction, into a table like hookd.event with its primary key and
nothing else. Single: 32 requests at once over kept connections, against a Quart-Trio handler that answers a
constant.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.filling import small
from bench.hookd import EVENT_TYPE, hookd
from bench.postgres import Server, Sql, connected, name_of, server
from bench.posting import Order, post
from bench.processes import end, family_time, first_line, spawn
from bench.report import CannotRun, Report
from daemon.signing.canonical import event_body
from daemon.uuid7 import uuid7

BATCH = 500
AT_ONCE = 32
SINGLES = 10
"""A single request is one of so many times fewer."""
UNLIMITED = {"api.rate": 1_000_000, "api.burst": 1_000_000}
"""One organisation sends all, which the limit on each is there to prevent."""
PLAIN, SQL, SQL_DAEMON = "plain INSERT", "SQL batches", "SQL batches, daemon at work"
NDJSON, SINGLE, CONSTANT = "NDJSON", "single requests", "constant handler"
_TABLE = """
create table plain (id uuid not null, org_id uuid not null, type text not null, body text, problem text,
    xid xid8 not null default pg_current_xact_id(), primary key (org_id, id))
"""
_INSERT = """
insert into plain (id, org_id, type, body)
select id, $2, type, body from unnest($1::uuid[], $3::text[], $4::text[]) x(id, type, body)
"""


def measure(options: Options, place: Path, report: Report) -> None:
    """Publish by each way in turn, each run into a database of its own."""
    singles = max(1, options.size // SINGLES)
    report.parameters |= {"batch": BATCH, "at_once": AT_ONCE, "single_requests": singles}
    state = place / "state"
    with server(place / "postgres", options.database) as postgres, postgres.database() as template:
        report.versions |= {"postgres": postgres.title}
        with hookd(state, template):
            pass  # it makes the schema

        def through_api(events: int, at_once: int) -> Run:
            org = uuid4()
            with postgres.database(name_of(template)) as url, hookd(state, url, UNLIMITED) as daemon:
                address, token = daemon.address.removeprefix("http://"), daemon.token(org, "publisher")
                before = daemon.cpu()
                found = dict(post(Order(address, token, events, at_once)))
                with connected(url) as sql:
                    _check(sql, "select count(*) from hookd.event", events)
                return found | {"cpu_us": (daemon.cpu() - before) / events * 1e6}

        def through_sql(*, daemon: bool) -> Run:
            with postgres.database(name_of(template)) as url, connected(url) as sql:
                if not daemon:
                    return _batches(postgres, sql, options.size)
                with hookd(state, url):
                    return _batches(postgres, sql, options.size)

        def plain() -> Run:
            with postgres.database(name_of(template)) as url, connected(url) as sql:
                sql.execute(_TABLE)
                return _plain(postgres, sql, options.size)

        def constant() -> Run:
            with _constant(place / "constant.log") as (address, pid):
                before = family_time(pid)
                found = dict(post(Order(address, "x" * 300, singles, AT_ONCE)))
                return found | {"cpu_us": (family_time(pid) - before) / singles * 1e6}

        report.interleave(
            options.runs,
            {
                PLAIN: plain,
                SQL: lambda: through_sql(daemon=False),
                SQL_DAEMON: lambda: through_sql(daemon=True),
                NDJSON: lambda: through_api(options.size, 0),
                CONSTANT: constant,
                SINGLE: lambda: through_api(singles, AT_ONCE),
            },
            say,
        )
    part = "rate, part of plain INSERT's"
    report.claim(f"SQL batches: {part}", report.ratio("rate_per_s", SQL, PLAIN), must=0.5, aim=0.8)
    report.claim(f"NDJSON: {part}", report.ratio("rate_per_s", NDJSON, PLAIN), must=0.2, aim=0.4)
    single = report.ratio("rate_per_s", SINGLE, CONSTANT)
    report.claim("single requests: rate, part of a constant answer's", single, must=0.6, aim=0.8)


def _batches(postgres: Server, sql: Sql, events: int) -> Run:
    data, org = small(), uuid4()
    batches = [
        [json.dumps(data(number)) for number in range(start, min(start + BATCH, events))]
        for start in range(0, events, BATCH)
    ]

    def publish(some: list[str]) -> None:
        statement = "select hookd.publish_batch($1, $2, $3::jsonb[])"
        sql.value(statement, org, [EVENT_TYPE] * len(some), some)

    found = _timed(postgres, events, [partial(publish, some) for some in batches])
    _check(sql, "select count(*) from hookd.event", events)
    return found


def _plain(postgres: Server, sql: Sql, events: int) -> Run:
    data, org = small(), uuid4()
    batches: list[tuple[list[UUID], list[str]]] = []
    for start in range(0, events, BATCH):
        ids = [uuid7() for _ in range(min(BATCH, events - start))]
        bodies = [event_body(one, EVENT_TYPE, data(start + n)) for n, one in enumerate(ids)]
        batches.append((ids, bodies))

    def insert(ids: list[UUID], bodies: list[str]) -> None:
        sql.value(_INSERT, ids, org, [EVENT_TYPE] * len(ids), bodies)

    found = _timed(postgres, events, [partial(insert, *one) for one in batches])
    _check(sql, "select count(*) from plain", events)
    return found


def _timed(postgres: Server, events: int, steps: Sequence[Callable[[], None]]) -> Run:
    cpu = postgres.cpu()
    began = time.perf_counter()
    for step in steps:
        step()
    took = time.perf_counter() - began
    after = postgres.cpu()
    found = {"rate_per_s": events / took}
    if cpu is not None and after is not None:
        found["postgres_us"] = (after - cpu) / events * 1e6
    return found


def _check(sql: Sql, statement: str, events: int) -> None:
    kept = sql.value(statement)
    if kept != events:
        raise CannotRun(f"of {events} events {kept} were kept: report this")


@contextmanager
def _constant(log: Path) -> Iterator[tuple[str, int]]:
    process = spawn([sys.executable, "-m", "bench.constant_api"], log)
    try:
        line = first_line(process, log)
        yield f"127.0.0.1:{line.split()[2]}", process.pid
    finally:
        end(process)


if __name__ == "__main__":
    command("publish", __doc__, measure, size=100_000)
