"""What claim and record of one delivery cost with 10,000, 100,000, 1,000,000 and --size (5,000,000) pending.

A database for each size, with so many deliveries of 450 bytes due on 1,000 proven lanes at 100 hosts. Each
run claims and records 2,500 from each by one session, in batches of 250, attempts kept, and puts as many new
ones in their place.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.command import Options, command, say
from bench.figures import Run
from bench.filling import pile
from bench.postgres import Server, Sql, connected, server
from bench.queue_calls import BATCH, Calls, Meter, drain, each, lay_out
from bench.report import Report, Subject

SIZES = (10_000, 100_000, 1_000_000)
LANES, HOSTS = 1000, 100
TAKEN = 10 * BATCH
"""Deliveries of one run, of each size."""


def measure(options: Options, place: Path, report: Report) -> None:
    """Fill all databases, and take from them in turn."""
    sizes = [*(size for size in SIZES if size < options.size), options.size]
    report.parameters |= {"lanes": LANES, "hosts": HOSTS, "taken": TAKEN}
    with server(place / "postgres", options.database) as postgres, ExitStack() as stack:
        report.versions["postgres"] = postgres.title
        sessions = {size: stack.enter_context(_filled(postgres, size)) for size in sizes}

        def taking(sql: Sql) -> Subject:
            return lambda: taken(sql)

        subjects = {f"{size:,} pending": taking(sql) for size, sql in sessions.items()}
        report.interleave(options.runs, subjects, say)
    first, *others = subjects
    for name in others:
        ratio = report.ratio("claim_and_record_us", name, first)
        report.claim(f"claim + record of one, {name}, times {first}", ratio, must=1.5, aim=1.2, most=True)


@contextmanager
def _filled(postgres: Server, deliveries: int) -> Iterator[Sql]:
    with postgres.database() as url, connected(url) as sql:
        say(f"filling: {deliveries:,}")
        lay_out(sql, LANES, HOSTS)
        pile(sql, deliveries)
        yield sql


def taken(sql: Sql) -> Run:
    """Claim and record some, and fill up again."""
    drain(sql, Calls(), BATCH)  # what the runs of the other sizes have pushed out of memory comes back
    calls, before = Calls(), Meter.read(sql)
    drain(sql, calls, TAKEN)
    spent = Meter.read(sql).since(before, TAKEN)
    pile(sql, TAKEN + BATCH)
    claim_us, record_us = each(calls.claim), each(calls.record)
    return {
        "claim_us": claim_us,
        "record_us": record_us,
        "claim_and_record_us": claim_us + record_us,
        **spent,
    }


if __name__ == "__main__":
    command("queue_sizes", __doc__, measure, size=5_000_000)
