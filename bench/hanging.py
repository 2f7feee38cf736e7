"""A thousand hosts that hang and a million deliveries behind them: what the receivers of others notice.

100 events a second go to ten healthy hosts for a minute, from a second after the daemon's start, once with
and once without --size deliveries that are due for 1,000 subscriptions at 1,000 hosts, which take every
request and answer none. The healthy ones have answered before. delivery.timeout, delivery.concurrency and
delivery.unanswered_share as shipped.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.filling import pile
from bench.hookd import hookd
from bench.postgres import Server, connected, name_of, server
from bench.probe import probing
from bench.report import Report
from bench.silent_receiver import silent
from bench.stamping import TITLE, Stamper, stamping
from bench.subscribing import subscribe

HANGING, HEALTHY = 1000, 10
RATE = 100.0
SECONDS = 60.0
SETTLED = 1.0
"""Seconds after the start before the first event counts."""


def measure(options: Options, place: Path, report: Report) -> None:
    """Pile the deliveries up once, and time the others' events on copies with and without them."""
    seconds = min(SECONDS, options.size / 1000)
    hosts = min(HANGING, max(1, options.size // 10))
    report.parameters |= {
        "hanging_hosts": hosts,
        "healthy_hosts": HEALTHY,
        "rate_per_s": RATE,
        "seconds": seconds,
    }
    state = place / "state"
    with (
        stamping(place / "healthy", hosts=HEALTHY) as stamper,
        silent(place / "hanging", hosts=hosts) as silent_urls,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as without,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        orgs = [uuid4() for _ in stamper.urls]
        with hookd(state, without) as daemon:
            for org, url in zip(orgs, stamper.urls, strict=True):
                daemon.register(org, url)
            with probing(without, orgs, RATE, stamper, state / "probe.log") as probe:
                time.sleep(SETTLED)
                probe.stop()
        with postgres.database(name_of(without)) as hanging:
            began, owed = time.monotonic(), [uuid4() for _ in silent_urls]
            with connected(hanging) as sql:
                subscribe(sql, state, list(zip(owed, silent_urls, strict=True)))
                pile(sql, options.size, owed)
            say(f"{options.size:,} deliveries piled up in {time.monotonic() - began:.0f} s")

            def run(template: str) -> Run:
                return _run(postgres, name_of(template), state, stamper, orgs, seconds)

            subjects = {
                "without": lambda: run(without),
                "hanging": lambda: run(hanging),
            }
            report.interleave(options.runs, subjects, say)
    for figure in ("p99", "median"):
        found = report.ratio(f"{figure}_ms", "hanging", "without")
        report.claim(f"hanging, {figure} / without", found, must=1.5, aim=1.1, most=True)


def _run(
    postgres: Server,
    template: str,
    state: Path,
    stamper: Stamper,
    orgs: Sequence[UUID],
    seconds: float,
) -> Run:
    with postgres.database(template) as url, connected(url) as sql:
        with hookd(state, url) as daemon, probing(url, orgs, RATE, stamper, state / "probe.log") as probe:
            time.sleep(SETTLED)
            began, cpu, postgres_cpu = time.monotonic(), daemon.cpu(), postgres.cpu()
            time.sleep(seconds)
            ended, cpu, postgres_after = time.monotonic(), daemon.cpu() - cpu, postgres.cpu()
            probe.stop()
        found = dict(probe.figures(began, ended))
        found["hung_attempts"] = float(sql.value("select count(*) from hookd.attempt where not succeeded"))
        found["daemon_cores"] = cpu / (ended - began)
        if postgres_cpu is not None and postgres_after is not None:
            found["postgres_cores"] = (postgres_after - postgres_cpu) / (ended - began)
    return found


if __name__ == "__main__":
    command("hanging", __doc__, measure, size=1_000_000)
