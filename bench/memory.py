"""The daemon's memory with a million deliveries pending and 512 requests under way that nobody answers.

--size deliveries of 450 bytes wait for 1,000 subscriptions on 100 hosts. The receiver answers the first
50,000 at once, so that lanes are proven, and then nobody until the end of the run: all 512 senders wait for
an answer. Settings: delivery.concurrency = 512 and hosts that may be sent all.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.command import Options, command, say
from bench.figures import Run
from bench.filling import pile
from bench.hookd import hookd
from bench.postgres import Server, connected, name_of, server
from bench.processes import resident_memory, wait_until
from bench.report import Report
from bench.stamping import TITLE, Stamper, stamping

IN_FLIGHT = 512
HOSTS, LANES = 100, 1000
FIRST = 50_000
"""Deliveries that are answered before, a quarter of all at most."""
HELD_FOR = 2.0
"""Seconds for which the senders wait before the memory is read."""


def measure(options: Options, place: Path, report: Report) -> None:
    """Pile the deliveries up, let the daemon send the first, and stop answering."""
    hosts, lanes = min(HOSTS, options.size // 100 + 1), min(LANES, options.size // 20 + 1)
    in_flight = min(IN_FLIGHT, options.size // 8 + 1)
    settings = {"delivery.concurrency": in_flight, "delivery.timeout": "60s"}
    report.parameters |= {"hosts": hosts, "lanes": lanes, "settings": settings}
    with (
        stamping(place / "receiver", hosts=hosts) as stamper,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        state = place / "state"
        with hookd(state, template) as daemon:
            for number in range(lanes):
                daemon.register(uuid4(), stamper.urls[number % hosts])
        with connected(template) as sql:
            began = time.monotonic()
            pile(sql, options.size)
            say(f"{options.size:,} deliveries piled up in {time.monotonic() - began:.0f} s")
        first = min(FIRST, options.size // 4)
        subject = {"hookd": lambda: _hold(postgres, name_of(template), state, stamper, settings, first)}
        report.interleave(options.runs, subject, say)
    peak = report.median("hookd", "peak_mib")
    report.claim("peak memory of the daemon, MB", peak * 2**20 / 1e6, must=200, aim=120, most=True)


def _hold(
    postgres: Server, template: str, state: Path, stamper: Stamper, settings: Mapping[str, Any], first: int
) -> Run:
    """Let the first be delivered, hold the rest, and read the memory. Error: `CannotRun`."""
    senders = settings["delivery.concurrency"]
    stamper.ask(f"hold/{first}")
    with postgres.database(template) as url, hookd(state, url, settings) as daemon:
        pid = daemon.process.pid
        at_start = resident_memory(pid)
        wait_until(
            lambda: _told(stamper, "waited"), senders, period=0.1, patience=60, what="filling all senders"
        )
        time.sleep(HELD_FOR)
        now, peak = resident_memory(pid), daemon.peak_mib()
        with connected(url) as sql:
            left = sql.value("select count(*) from hookd.delivery")
        held = stamper.ask("release")["waited"]
    return {
        "at_start_mib": at_start / 2**20,
        "holding_mib": now / 2**20,
        "peak_mib": peak,
        "in_flight": float(held),
        "pending": float(left),
    }


def _told(stamper: Stamper, what: str) -> int:
    told: int = stamper.ask("stamps")[what]
    return told


if __name__ == "__main__":
    command("memory", __doc__, measure, size=1_000_000)
