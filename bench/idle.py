"""A daemon with nothing to do: its processor time, and the statements that it sends to Postgres.

100 subscriptions, each of which has had an event, and then rest, for --size seconds. Statements are counted
in the embedded server's own log (log_statement = all for the daemon's database alone); those within functions
are not statements of the daemon. The log's cost is in Postgres' processor time.
"""

import re
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.hookd import hookd
from bench.postgres import Server, Sql, connected, name_of, server
from bench.processes import wait_until
from bench.publishers import Order, publish
from bench.report import CannotRun, Report
from bench.stamping import TITLE, Stamper, stamping

SUBSCRIPTIONS = 100
SETTLED = 10.0
"""Seconds after the last event in which the daemon comes to rest."""
STATEMENT = re.compile(r" LOG:  (?:statement|execute [^:]*): (.*)")
COMMENT = re.compile(r"--.*")


def statements(log: Path, begin: int) -> Counter[str]:
    """Return how often each statement stands in a server's log from an offset on, by its first line."""
    with log.open(errors="replace") as file:
        file.seek(begin)
        lines = file.readlines()
    found: Counter[str] = Counter()
    for place, line in enumerate(lines):
        if match := STATEMENT.search(line):
            # what it says begins on the next line where the first is a comment
            first = match[1] if not COMMENT.match(match[1]) else lines[place + 1].strip()
            found[first[:80]] += 1
    return found


def measure(options: Options, place: Path, report: Report) -> None:
    """Start a daemon, let it deliver one event to each, and watch it rest."""
    if options.database:
        raise CannotRun("statements are counted in the embedded server's log: leave --database away")
    seconds = float(options.size)
    report.parameters |= {"seconds": seconds, "subscriptions": SUBSCRIPTIONS}
    with (
        stamping(place / "receiver", hosts=SUBSCRIPTIONS) as stamper,
        server(place / "postgres") as postgres,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        (log,) = (place / "postgres").rglob("server.log")
        seen: Counter[str] = Counter()
        subject = {"at rest": lambda: _rest(postgres, log, place / "state", stamper, seconds, seen)}
        report.interleave(options.runs, subject, say)
    report.extra["statements_per_s"] = {
        text: round(count / seconds / options.runs, 3) for text, count in seen.most_common()
    }
    share, rate = report.median("at rest", "cpu_percent"), report.median("at rest", "statements_per_s")
    report.claim("idle daemon, % of a core", share, must=1, aim=0.2, most=True)
    report.claim("idle daemon, statements a second", rate, must=5, aim=1, most=True)


def _rest(
    postgres: Server, log: Path, state: Path, stamper: Stamper, seconds: float, seen: Counter[str]
) -> Run:
    with postgres.database() as url:
        with connected(url) as sql:
            sql.execute(f"alter database {name_of(url)} set log_statement = 'all'")
        with hookd(state, url) as daemon:
            orgs = [uuid4() for _ in stamper.urls]
            for org, target in zip(orgs, stamper.urls, strict=True):
                daemon.register(org, target)
            publish(Order("sql", url, [str(org) for org in orgs], [0.01 * n for n in range(len(orgs))]))
            with connected(url) as sql:
                wait_until(lambda: -_left(sql), 0, period=0.1, patience=30, what="delivering")
            time.sleep(SETTLED)
            offset, cpu, postgres_cpu = log.stat().st_size, daemon.cpu(), postgres.cpu()
            began = time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            found = {"cpu_percent": (daemon.cpu() - cpu) / took * 100}
            after = postgres.cpu()
            if postgres_cpu is not None and after is not None:
                found["postgres_percent"] = (after - postgres_cpu) / took * 100
            sent = statements(log, offset)
    seen.update(sent)
    return {**found, "statements_per_s": sent.total() / took}


def _left(sql: Sql) -> int:
    left: int = sql.value("select (select count(*) from hookd.delivery) + (select count(*) from hookd.inbox)")
    return left


if __name__ == "__main__":
    command("idle", __doc__, measure, size=60)
