"""One drain: a copy of a backlog, a daemon started on it, and what it took until all was delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Run
from bench.hookd import SHIPPED, hookd
from bench.postgres import Server, Sql, connected
from bench.processes import wait_until
from bench.receiving import Receiver
from bench.report import CannotRun

PATIENCE = 60.0
_LEFT = "select (select count(*) from hookd.delivery) + (select count(*) from hookd.inbox)"
_ENDED = """
select count(*) filter (where succeeded) as good, count(*) filter (where not succeeded) as bad
from hookd.attempt
"""


@dataclass(frozen=True, slots=True)
class Lab:
    """What drains share: the server, the daemon's state directory, the receiver."""

    server: Server
    state: Path
    receiver: Receiver


def drain(
    lab: Lab,
    template: str,
    deliveries: int,
    settings: Mapping[str, object] | None = None,
    program: tuple[str, ...] = SHIPPED,
) -> Run:
    """Drain a copy of `template`, which owes `deliveries`. Error: `CannotRun` if not all are delivered.

    The time runs from the daemon's ready line until its queue is empty and all results are written. Until all
    requests have come, only the receiver is asked, so that Postgres is left alone.
    """
    receiver = lab.receiver
    given = {**receiver.settings, **(settings or {})}
    with lab.server.database(template) as url, connected(url) as sql:
        (connections, before), postgres_before = receiver.counts(), lab.server.cpu()
        with hookd(lab.state, url, given, program) as daemon:
            started, began = daemon.cpu(), daemon.ready_at
            wait_until(
                lambda: receiver.count() - before, deliveries, period=0.05, patience=PATIENCE, what="sending"
            )
            ended = wait_until(
                lambda: -_left(sql), 0, period=0.005, patience=PATIENCE, what="recording the last results"
            )
            cpu, postgres_after, peak = daemon.cpu() - started, lab.server.cpu(), daemon.peak_mib()
            connections = receiver.counts()[0] - connections
        row = sql.rows(_ENDED)[0]
    if row["good"] != deliveries:
        raise CannotRun(
            f"of {deliveries} deliveries {row['good']} succeeded: see {daemon.log}, and report this"
        )
    run = {
        "rate_per_s": deliveries / (ended - began),
        "cpu_us": cpu / deliveries * 1e6,
        "peak_mib": peak,
        "connections": float(connections),
        "failed_attempts": float(row["bad"]),
    }
    if postgres_before is not None and postgres_after is not None:
        run["postgres_us"] = (postgres_after - postgres_before) / deliveries * 1e6
    return run


def _left(sql: Sql) -> int:
    left: int = sql.value(_LEFT)
    return left
