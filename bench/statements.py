"""What one event makes Postgres run, nested statements included, a hundred events a second published by REST.

Wants a server that counts: `--database` with shared_preload_libraries = pg_stat_statements,
pg_stat_statements.track = all and track_planning = on, as a superuser; the embedded one has no such module.
The rest is that of `single`. A statement that calls functions holds the time of theirs, too.
"""

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from bench.command import Options, command, say
from bench.figures import Run, number, table
from bench.hookd import hookd
from bench.latency import SETTLED, arrivals
from bench.postgres import Sql, connected, name_of, server
from bench.publish import UNLIMITED
from bench.publishers import Order, publish
from bench.report import CannotRun, Report
from bench.single import CONNECTIONS, STEADY, uses
from bench.stamping import TITLE, stamping

SHOWN = 40
WIDTH = 110
_FOUND = """
select toplevel, calls::float / $1 as calls, (total_exec_time + total_plan_time) * 1000 / $1 as us,
    total_plan_time * 1000 / $1 as plan_us, rows::float / $1 as rows, query
from pg_stat_statements s join pg_database d on d.oid = s.dbid and d.datname = current_database()
where query not like '%pg_stat_statements%' order by us desc
"""


def measure(options: Options, place: Path, report: Report) -> None:
    """Publish to a daemon with one subscription, and ask the server what it ran meanwhile."""
    offsets = uses(options.size)[STEADY]
    with (
        stamping(place / "receiver", hosts=1) as stamper,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        state, org = place / "state", uuid4()
        with hookd(state, template) as daemon, connected(template) as sql:
            _prepare(sql)
            daemon.register(org, stamper.urls[0])

        def run() -> Run:
            with (
                postgres.database(name_of(template)) as url,
                hookd(state, url, UNLIMITED) as daemon,
                connected(url) as sql,
            ):
                time.sleep(SETTLED)
                sql.execute("select pg_stat_statements_reset()")
                address, token = daemon.address.removeprefix("http://"), daemon.token(org, "publisher")
                publish(Order("rest", address, [token], offsets, CONNECTIONS))
                arrivals(stamper, 0, len(offsets))
                rows = [dict(row) for row in sql.rows(_FOUND, float(len(offsets)))]
            report.extra["statements"] = rows
            return {
                "statements": sum(row["calls"] for row in rows),
                "round_trips": sum(row["calls"] for row in rows if row["toplevel"]),
                "us": sum(row["us"] for row in rows if row["toplevel"]),
            }

        report.interleave(options.runs, {f"one event, {STEADY}": run}, say)
    say(text(report.extra["statements"]))


def text(rows: list[dict[str, Any]]) -> str:
    """Return the dearest statements as a table: of one event, and of one call."""
    shown = [
        [
            ("" if row["toplevel"] else "  ") + " ".join(row["query"].split())[:WIDTH],
            *(number(row[name]) for name in ("calls", "rows", "us")),
            number(row["us"] / row["calls"]),
        ]
        for row in rows[:SHOWN]
    ]
    return table(["statement (nested ones further in)", "calls", "rows", "µs", "µs a call"], shown)


def _prepare(sql: Sql) -> None:
    try:
        sql.execute("create extension pg_stat_statements")
        sql.value("select count(*) from pg_stat_statements")
        track = sql.value("show pg_stat_statements.track")
    except asyncpg.PostgresError as error:
        raise CannotRun(f"the server does not count statements ({error}): see --help") from error
    if track != "all":
        raise CannotRun(f"the server counts {track} statements alone: set pg_stat_statements.track = all")


if __name__ == "__main__":
    command("statements", __doc__, measure, size=2_000, runs=1)
