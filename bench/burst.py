"""One organisation publishes half a million events at once: what another one's receiver notices.

The other publishes 10 events a second: a minute before, then while --size events of 450 bytes of the first
are published through SQL, in transactions of 10,000 as fast as they go, and until the last of them has been
delivered, to one host that can take all. "before" and "burst" are spans of the same run. The inbox has 32
shards by organisation, and the other's is not the first one's. "burst, same shard" is a third organisation,
whose is, as one in 32 would be.
"""

import time
from pathlib import Path
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.hookd import EVENT_TYPE, hookd
from bench.postgres import Server, Sql, connected, name_of, server
from bench.probe import probing
from bench.processes import wait_until
from bench.receiving import Receiver, receiving
from bench.report import Report
from bench.stamping import TITLE, Stamper, stamping

RATE = 10.0
BEFORE = 60.0
"""Seconds before the burst, less where there are but few events."""
SETTLED = 2.0
"""Seconds after the start before the other's first event counts."""
AT_ONCE = 10_000
PAD = 290
_PUBLISH = """
select hookd.publish_batch($1, array_fill($2::text, array[$3::integer]), (
    select array_agg(jsonb_build_object('pad', (
        select left(string_agg(md5(n::text || k), ''), $4::integer)
        from generate_series(0, $4::integer / 32) k)))
    from generate_series(1, $3::integer) n))
"""


def measure(options: Options, place: Path, report: Report) -> None:
    """Start a daemon for each run, and time the other's events before the burst and through it."""
    before = min(BEFORE, 2 + options.size / 2000)
    report.parameters |= {"others_rate_per_s": RATE, "seconds_before": before, "in_a_transaction": AT_ONCE}
    state = place / "state"
    with (
        stamping(place / "other", hosts=2) as stamper,
        receiving(place / "receiver", hosts=1, choice=options.receiver) as receiver,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {
            "postgres": postgres.title,
            "receiver of the burst": receiver.title,
            "receiver of the other": TITLE,
        }
        with hookd(state, template) as daemon, connected(template) as sql:
            orgs = _organisations(sql)
            for org, url in zip(orgs, [*receiver.urls, *stamper.urls], strict=True):
                daemon.register(org, url)
        spans: list[Run] = []

        def first() -> Run:
            spans[:] = _run(postgres, name_of(template), state, receiver, stamper, orgs, options.size, before)
            return spans.pop(0)

        def following() -> Run:
            return spans.pop(0)

        subjects = {"before": first, "burst": following, "burst, same shard": following}
        report.interleave(options.runs, subjects, say)
    for figure in ("p99", "median"):
        found = report.ratio(f"{figure}_ms", "burst", "before")
        report.claim(f"{figure} of the other: burst / before", found, must=2, aim=1.2, most=True)
        found = report.ratio(f"{figure}_ms", "burst, same shard", "before")
        report.claim(f"{figure} of the other, same shard: burst / before", found, must=2, aim=1.2, most=True)


def _organisations(sql: Sql) -> tuple[UUID, UUID, UUID]:
    """Return one for the burst, one of another shard of the inbox, and one of the same."""

    def shard(org: UUID) -> int:
        found: int = sql.value("select uuid_hash($1) & 31", org)
        return found

    burst = uuid4()
    other = next(org for org in iter(uuid4, None) if shard(org) != shard(burst))
    same = next(org for org in iter(uuid4, None) if shard(org) == shard(burst))
    return burst, other, same


def _run(
    postgres: Server,
    template: str,
    state: Path,
    receiver: Receiver,
    stamper: Stamper,
    orgs: tuple[UUID, UUID, UUID],
    events: int,
    before: float,
) -> list[Run]:
    burst, other, same = orgs
    had = receiver.count()
    with (
        postgres.database(template) as url,
        connected(url) as sql,
        hookd(state, url) as daemon,
        probing(url, [other, same], 2 * RATE, stamper, state / "probe.log") as probe,
    ):
        time.sleep(SETTLED)
        began = time.monotonic()
        time.sleep(before)
        burst_began, cpu, postgres_cpu = time.monotonic(), daemon.cpu(), postgres.cpu()
        for start in range(0, events, AT_ONCE):
            sql.execute(_PUBLISH, burst, EVENT_TYPE, min(AT_ONCE, events - start), PAD)
        published = time.monotonic()
        ended = wait_until(
            lambda: receiver.count() - had, events, period=0.25, patience=60, what="sending the burst"
        )
        cpu, postgres_after = daemon.cpu() - cpu, postgres.cpu()
        probe.stop()
    found = {
        **probe.figures(burst_began, ended, other),
        "publish_s": published - burst_began,
        "drained_s": ended - burst_began,
        "daemon_cores": cpu / (ended - burst_began),
    }
    if postgres_cpu is not None and postgres_after is not None:
        found["postgres_cores"] = (postgres_after - postgres_cpu) / (ended - burst_began)
    return [
        probe.figures(began, burst_began, other),
        found,
        probe.figures(burst_began, ended, same),
    ]


if __name__ == "__main__":
    command("burst", __doc__, measure, size=500_000)
