"""From publishing an event to its arrival at the receiver: on an idle system, and at 500 a second.

Events of about 450 bytes are published one at a time, through the REST API over a kept connection or through
`select hookd.publish(…)` in a transaction of its own. Idle: one every 50 to 100 ms, counted from just before
the call. At 500 a second: ten organisations over eight connections, for as many seconds as a fifth of --size,
counted from the scheduled moment, so that a late call counts. Receiver and publisher have the same clock. The
first event after the daemon's start is a figure of its own.
"""

import random
import time
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.hookd import Hookd, hookd
from bench.postgres import Server, name_of, server
from bench.processes import wait_until
from bench.publishers import Order, Published, publish
from bench.report import CannotRun, Report
from bench.stamping import TITLE, Stamper, stamping

RATE = 500
ORGANISATIONS = 10
CONNECTIONS = 8
IDLE = (0.05, 0.1)
SETTLED = 2.0
"""Seconds after the start in which the daemon comes to rest."""


def idle(count: int) -> list[float]:
    """Return when to publish, in seconds from the start, with gaps that differ."""
    chance = random.Random(count)
    offsets = [0.0]
    while len(offsets) < count:
        offsets.append(offsets[-1] + chance.uniform(*IDLE))
    return offsets


def steady(seconds: float) -> list[float]:
    """Return when to publish at an even rate."""
    return [number / RATE for number in range(max(2, round(RATE * seconds)))]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that `share` of them do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * share) - 1)]


def arrivals(stamper: Stamper, first: int, count: int) -> list[float]:
    """Return when each event first came. Error: `CannotRun` if some do not."""
    came: dict[int, float] = {}

    def look() -> int:
        for number, moment in stamper.ask("stamps")["stamps"]:
            came.setdefault(number, moment)
        return len(came)

    wait_until(look, count, period=0.1, patience=30, what="receiving")
    if sorted(came) != list(range(first, first + count)):
        raise CannotRun("other events came than were published: report this")
    return [came[number] for number in range(first, first + count)]


def figures(published: Sequence[Published], came: Sequence[float], *, scheduled: bool) -> Run:
    """Return the latencies; `scheduled`: from the moment for which the call was planned."""
    took = [
        (moment - (one.scheduled if scheduled else one.called)) * 1000
        for one, moment in zip(published, came, strict=True)
    ]
    calls = [(one.returned - one.called) * 1000 for one in published[1:]]
    late = [(one.called - one.scheduled) * 1000 for one in published[1:]]
    return {
        "median_ms": median(took[1:]),
        "p99_ms": percentile(took[1:], 0.99),
        "most_ms": max(took[1:]),
        "first_ms": took[0],
        "call_median_ms": median(calls),
        "call_p99_ms": percentile(calls, 0.99),
        "late_p99_ms": percentile(late, 0.99),
    }


def order_of(kind: str, url: str, daemon: Hookd, orgs: Sequence[UUID], offsets: list[float]) -> Order:
    """Return what to publish, one organisation on one connection, or all on several."""
    connections = 1 if len(orgs) == 1 else CONNECTIONS
    if kind == "sql":
        return Order(kind, url, [str(org) for org in orgs], offsets, connections)
    tokens = [daemon.token(org, "publisher") for org in orgs]
    return Order(kind, daemon.address.removeprefix("http://"), tokens, offsets, connections)


def measure(options: Options, place: Path, report: Report) -> None:
    """Start a daemon for each run, publish, and ask the receiver when each event came."""
    state, seconds = place / "state", options.size / 5
    report.parameters |= {"busy_seconds": seconds, "busy_rate_per_s": RATE, "organisations": ORGANISATIONS}
    with (
        stamping(place / "receiver", hosts=ORGANISATIONS) as stamper,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        orgs = [uuid4() for _ in stamper.urls]
        with hookd(state, template) as daemon:
            for org, target in zip(orgs, stamper.urls, strict=True):
                daemon.register(org, target)

        def run(kind: str, some: Sequence[UUID], offsets: list[float]) -> Run:
            return _run(postgres, name_of(template), state, stamper, kind, some, offsets)

        quiet, busy = idle(options.size), steady(seconds)
        subjects = {
            "REST, idle": lambda: run("rest", orgs[:1], quiet),
            "SQL, idle": lambda: run("sql", orgs[:1], quiet),
            f"REST, {RATE}/s": lambda: run("rest", orgs, busy),
            f"SQL, {RATE}/s": lambda: run("sql", orgs, busy),
        }
        report.interleave(options.runs, subjects, say)
    at_rest, under_load = "REST, idle", f"REST, {RATE}/s"
    report.claim(f"{at_rest}: median, ms", report.median(at_rest, "median_ms"), must=10, aim=5, most=True)
    report.claim(f"{at_rest}: p99, ms", report.median(at_rest, "p99_ms"), must=25, aim=10, most=True)
    report.claim("SQL, idle: p99, ms", report.median("SQL, idle", "p99_ms"), must=250, aim=15, most=True)
    report.claim(f"{under_load}: p99, ms", report.median(under_load, "p99_ms"), must=50, aim=20, most=True)


def _run(
    postgres: Server,
    template: str,
    state: Path,
    stamper: Stamper,
    kind: str,
    orgs: Sequence[UUID],
    offsets: list[float],
) -> Run:
    with postgres.database(template) as url, hookd(state, url) as daemon:
        time.sleep(SETTLED)
        cpu, postgres_cpu = daemon.cpu(), postgres.cpu()
        published = publish(order_of(kind, url, daemon, orgs, offsets))
        came = arrivals(stamper, 0, len(offsets))
        found = dict(figures(published, came, scheduled=len(orgs) > 1))
        found["cpu_us"] = (daemon.cpu() - cpu) / len(offsets) * 1e6
        after = postgres.cpu()
        if postgres_cpu is not None and after is not None:
            found["postgres_us"] = (after - postgres_cpu) / len(offsets) * 1e6
    return found


if __name__ == "__main__":
    command("latency", __doc__, measure, size=300)
