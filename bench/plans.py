"""The plans of the hot statements with --size (1,000,000) deliveries pending: what each touches for a row.

The deliveries are due on 10,000 proven lanes at 1,000 hosts. One session, whose plans were made while the
queue was almost empty, publishes, routes, claims, records and reads as the daemon does; the server's
auto_explain says how each statement was run, and the nested ones. No table may be read from one end to the
other. The plans are in the JSON file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from bench.command import Options, command, say
from bench.explained import Explained, Explainer
from bench.figures import Run
from bench.filling import pile
from bench.hookd import EVENT_TYPE
from bench.postgres import Sql, connected, server
from bench.queue_calls import BATCH, RECORD, STATEMENTS, claim, lay_out, publish, recorded, route
from bench.report import CannotRun, Report
from daemon.store.routing import HOLD, NO_CLAIM, ROUTE_SHARDS

LANES, HOSTS = 10_000, 1000
ALMOST_EMPTY = 2 * BATCH
DELAY = 60.0
PAGE, SCAN = 100, 5000
MANY = 50
"""Rows from which on a call's own fixed costs no longer hide what a row costs."""


@dataclass(slots=True)
class Watch:
    """Runs calls and keeps what they touched, of several of a name that about the most rows."""

    sql: Sql
    explainer: Explainer
    found: dict[str, Run] = field(default_factory=dict)
    plans: dict[str, list[Explained]] = field(default_factory=dict)

    def run(self, name: str, call: Callable[[], Any], rows: Callable[[Any], int] = len) -> Any:
        """Run a call; `rows` tells from what it returns how many rows it is about."""
        self.explainer.take()
        result = call()
        plans = self.explainer.take()
        count = max(1, rows(result))
        if name in self.found and count < self.found[name]["rows"]:
            return result
        # The outer statement's blocks hold those of the nested ones.
        blocks = max((plan.blocks for plan in plans), default=0)
        touched = sum(plan.touched for plan in plans)
        self.found[name] = {
            "rows": count,
            "touched": touched,
            "touched_each": touched / count,
            "blocks": blocks,
            "blocks_each": blocks / count,
            "scans": sum(len(plan.scans) for plan in plans),
        }
        self.plans[name] = plans
        return result


def measure(options: Options, place: Path, report: Report) -> None:
    """Let a session make its plans, fill the queue, and look at what each call does."""
    report.parameters |= {"lanes": LANES, "hosts": HOSTS, "batch": BATCH}
    with (
        server(place / "postgres", options.database) as postgres,
        postgres.database() as url,
        connected(url) as filler,
        connected(url) as sql,
    ):
        report.versions["postgres"] = postgres.title
        watch = Watch(sql, Explainer(sql))
        orgs = lay_out(filler, LANES, HOSTS)
        filler.execute(_SECRETS)
        say("plans are made while the queue is almost empty")
        publish(filler, [], orgs, ALMOST_EMPTY)
        look(watch, orgs)
        say(f"filling: {options.size:,}")
        pile(filler, options.size)
        for turn in range(options.runs):
            watch.found.clear()
            look(watch, orgs)
            say(f"run {turn + 1} of {options.runs}")
            for name, run in watch.found.items():
                report.subjects.setdefault(name, []).append(run)
    report.extra["plans"] = {
        name: [{"statement": plan.statement, "plan": plan.lines()} for plan in plans]
        for name, plans in watch.plans.items()
    }
    scans = [
        f"{name}: {table}" for name, plans in watch.plans.items() for plan in plans for table in plan.scans
    ]
    report.extra["scans"] = scans
    many = [name for name, runs in report.subjects.items() if runs[-1]["rows"] >= MANY]
    each = max((report.median(name, "touched_each") for name in many), default=0.0)
    report.claim("tables read from end to end", len(scans), must=0, aim=0, most=True)
    report.claim(
        f"rows touched for a row, the dearest call of {MANY} or more", each, must=20, aim=10, most=True
    )


def look(watch: Watch, orgs: list[UUID]) -> None:
    """Make each hot call once."""
    sql, run = watch.sql, watch.run
    types, data = [EVENT_TYPE] * BATCH, ['{"number":1}'] * BATCH
    batch = "select hookd.publish_batch($1, $2, $3::jsonb[])"
    run("publish_batch, SQL", lambda: sql.value(batch, orgs[0], types, data))
    run("publish, SQL", lambda: sql.value("select hookd.publish($1, $2, '{}')", orgs[0], EVENT_TYPE), _one)
    route_raw(watch)
    run("publish_bodies, REST", lambda: publish(sql, [], orgs[:BATCH], BATCH), _batch)
    run("poll", lambda: sql.rows(STATEMENTS["poll"]))
    run(
        "route_ready",
        lambda: sql.rows(
            STATEMENTS["route_ready"], BATCH, ROUTE_SHARDS, 2 * BATCH, HOLD, None, *NO_CLAIM.arguments
        ),
        lambda found: found[0]["events"],
    )
    route(sql, [])
    token, rows = run("claim_both", lambda: claim(sql, [], BATCH), lambda found: len(found[1]))
    if len(rows) < 2:
        raise CannotRun(f"a claim gave {len(rows)} deliveries though many are due: report this")
    lanes = list({row["subscription_id"] for row in rows})
    run("targets", lambda: sql.rows(STATEMENTS["targets"], lanes))
    run("leased", lambda: sql.rows(STATEMENTS["leased"], token))
    half = len(rows) // 2
    kept, again = rows[:half], rows[half:]
    run(
        "record, succeeded",
        lambda: sql.rows(RECORD, *recorded(kept, token)),
        lambda _: len(kept),
    )
    run(
        "record, retry",
        lambda: sql.rows(RECORD, *recorded(again, token, DELAY)),
        lambda _: len(again),
    )
    run("expired_leases", lambda: sql.rows(STATEMENTS["expired_leases"], 100))
    run("next_due", lambda: sql.rows("select * from hookd.next_due()"))
    lane = again[0]["subscription_id"]
    org = sql.value("select s.org_id from hookd.subscription s where s.id = $1", lane)
    run("attempts_page", lambda: sql.rows(STATEMENTS["attempts_page"], lane, *[None] * 5, PAGE, SCAN))
    page = run(
        "pending_page", lambda: sql.rows(STATEMENTS["pending_page"], org, lane, None, None, None, PAGE, SCAN)
    )
    run("delivery_state", lambda: sql.rows(STATEMENTS["delivery_state"], org, lane, page[0]["delivery_id"]))
    run("event_of", lambda: sql.rows(STATEMENTS["event_of"], org, page[0]["event_id"]))


def route_raw(watch: Watch) -> None:
    """Route what came through SQL."""
    sql = watch.sql
    statement = STATEMENTS["open_shards"]
    while rows := watch.run("open_shards", lambda: sql.rows(statement, BATCH, ROUTE_SHARDS, None)):
        route_opened(watch, rows)


def route_opened(watch: Watch, rows: list[asyncpg.Record]) -> None:
    """Route what some shards gave."""
    ids = [row["event_id"] for row in rows]
    ready = (ids, [row["org_id"] for row in rows], ['{"data":{}}'] * len(ids), [None] * len(ids))
    shards = list({row["shard"] for row in rows})
    watch.run(
        "route",
        lambda: watch.sql.value(STATEMENTS["route"], shards, BATCH, 2 * BATCH, *ready, *NO_CLAIM.arguments),
        lambda _: len(ids),
    )


def _one(_: object) -> int:
    return 1


def _batch(_: object) -> int:
    return BATCH


_SECRETS = """
insert into hookd.subscription_secret (subscription_id, number, ciphertext)
select s.id, 1, sha256(s.id::text::bytea) from hookd.subscription s
"""

if __name__ == "__main__":
    command("plans", __doc__, measure, size=1_000_000)
