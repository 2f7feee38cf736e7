"""Draining a backlog of small events to 100 hosts, against stock httpx and the floor.

Deliveries of 450 bytes are due, one lane on each host, all unproven; the daemon is started on them as
shipped, with hosts that may be sent all. Beside it, in turn: with other concurrencies; from the inbox, with
the routing; with stock httpx in place of its own transport; stock httpx without a database (64 at once); and
the floor: httptools on Trio without a database (64 at once). What is slow gets a part of the work.
"""

from collections.abc import Mapping
from pathlib import Path

from bench.command import Options, command, say
from bench.draining import Lab, drain
from bench.figures import Run
from bench.filling import backlog, small
from bench.loads import CONCURRENCY, load
from bench.postgres import server
from bench.receiving import receiving
from bench.report import Report, Subject

BYTES = 450
SLOW, SLOWEST = 10, 20
"""The daemon through httpx gets a tenth of the deliveries, httpx alone a twentieth."""

OURS = "hookd"
INBOX = "hookd, from the inbox"
THROUGH = "hookd through httpx"
HTTPX, HTTPX_ONE = "stock httpx", "stock httpx, one host"
FLOOR = "floor"


def measure(options: Options, place: Path, report: Report) -> None:
    """Fill, drain, compare."""
    size, state = options.size, place / "state"
    slow, slowest = max(options.hosts, size // SLOW), max(options.hosts, size // SLOWEST)
    report.parameters |= {"hosts": options.hosts, "bytes": BYTES, "through_httpx": slow, "httpx": slowest}
    with (
        receiving(place / "receiver", hosts=options.hosts, choice=options.receiver) as receiver,
        server(place / "postgres", options.database) as postgres,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": receiver.title}
        say(f"receiver: {receiver.title}; Postgres {postgres.title}; filling")
        lab = Lab(postgres, state, receiver)
        data = small(BYTES)
        with (
            backlog(postgres, state, receiver.urls, size, data) as due,
            backlog(postgres, state, receiver.urls, slow, data) as few,
            backlog(postgres, state, receiver.urls, size, data, routed=False) as inbox,
        ):

            def ours(concurrency: int) -> Subject:
                return lambda: drain(lab, due, size, {"delivery.concurrency": concurrency})

            def through() -> Run:
                settings = {"delivery.concurrency": CONCURRENCY}
                return drain(lab, few, slow, settings, program=("bench.through_httpx",))

            subjects: Mapping[str, Subject] = {
                OURS: lambda: drain(lab, due, size),
                FLOOR: lambda: load("floor", receiver.urls, requests=size, body_bytes=BYTES),
                HTTPX: lambda: load("httpx", receiver.urls, requests=slowest, body_bytes=BYTES),
                HTTPX_ONE: lambda: load("httpx", receiver.urls[:1], requests=slowest, body_bytes=BYTES),
                THROUGH: through,
                "hookd, 64 at once": ours(64),
                "hookd, 256 at once": ours(256),
                INBOX: lambda: drain(lab, inbox, size),
            }
            report.interleave(options.runs, subjects, say)
    faster = max(HTTPX, HTTPX_ONE, key=lambda name: report.ratio("rate_per_s", name, OURS))
    report.claim(f"rate, times that of {faster}", report.ratio("rate_per_s", OURS, faster), must=10, aim=16)
    report.claim("rate, part of the floor's", report.ratio("rate_per_s", OURS, FLOOR), must=0.2, aim=0.3)
    report.claim(
        "rate, times that of hookd through httpx", report.ratio("rate_per_s", OURS, THROUGH), must=8, aim=12
    )
    report.claim(
        "CPU of one, times the floor's", report.ratio("cpu_us", OURS, FLOOR), must=5, aim=3, most=True
    )


if __name__ == "__main__":
    command("drain", __doc__, measure, size=100_000)
