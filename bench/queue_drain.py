"""What Postgres spends on a delivery, step by step: publish, route, claim and record, without HTTP.

Each shape (lanes on hosts) is filled and drained by one session through the functions that the daemon calls,
in batches of 250, attempts kept; medians of the calls, round trip and all. Beside it the write-ahead log of
claim and record and the processor time of the session's server process. Once with a checkpoint between
routing and claiming, as a backlog meets it: then Postgres logs each page whole that is changed for the first
time.
"""

from pathlib import Path

from bench.command import Options, command, say
from bench.figures import Run
from bench.postgres import Server, connected, server
from bench.queue_calls import Calls, Meter, drain, each, lay_out, publish, route
from bench.report import Report, Subject

SHAPES = ((100, 100), (1, 1), (1000, 100), (5000, 1))
TYPICAL = "100 lanes on 100 hosts"
BACKLOG = f"{TYPICAL}, a checkpoint before"


def measure(options: Options, place: Path, report: Report) -> None:
    """Fill and drain each shape."""
    with server(place / "postgres", options.database) as postgres:
        report.versions["postgres"] = postgres.title

        def shape(lanes: int, hosts: int, checkpoint: bool = False) -> Subject:
            return lambda: drained(postgres, lanes, hosts, options.size, checkpoint=checkpoint)

        subjects = {f"{lanes} lanes on {hosts} hosts": shape(lanes, hosts) for lanes, hosts in SHAPES}
        subjects[BACKLOG] = shape(*SHAPES[0], checkpoint=True)
        report.interleave(options.runs, subjects, say)
    report.claim(
        f"claim + record of one, {TYPICAL}, µs",
        report.median(TYPICAL, "claim_and_record_us"),
        must=80,
        aim=40,
        most=True,
    )
    report.claim(
        f"WAL of claim + record of one, {TYPICAL}, bytes",
        report.median(TYPICAL, "wal_bytes"),
        must=1200,
        aim=700,
        most=True,
    )


def drained(postgres: Server, lanes: int, hosts: int, deliveries: int, *, checkpoint: bool) -> Run:
    """Publish, route, claim and record so many deliveries in a database of their own."""
    with postgres.database() as url, connected(url) as sql:
        orgs, calls = lay_out(sql, lanes, hosts), Calls()
        publish(sql, calls.publish, orgs, deliveries)
        route(sql, calls.route)
        if checkpoint:
            sql.execute("checkpoint")
        before = Meter.read(sql)
        drain(sql, calls, deliveries)
        spent = Meter.read(sql).since(before, deliveries)
    claim_us, record_us = each(calls.claim), each(calls.record)
    return {
        "publish_us": each(calls.publish),
        "route_us": each(calls.route),
        "claim_us": claim_us,
        "record_us": record_us,
        "claim_and_record_us": claim_us + record_us,
        **spent,
    }


if __name__ == "__main__":
    command("queue_drain", __doc__, measure, size=20_000)
