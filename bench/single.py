"""One event a request, through the REST API to one receiver: as fast as it goes, and a hundred a second.

Flat out: 32 kept connections, each with a request under way. 100/s: at their moments, whether or not the
earlier ones are answered, for 20 seconds (fewer where --size is below 2,000). Beside hookd run in turn: hookd
as it was at an earlier commit, in a clone and an environment of its own that the first call makes; and, to
answer the same POST and deliver nothing, a Quart-Trio handler under stock Hypercorn, and httptools on Trio.

rate_per_s counts what was received, or else answered; median_ms and p99_ms run from publishing (flat out from
the call, else from the planned moment) until it was received, or else answered.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

from bench.command import Options, command, say
from bench.earlier import earlier
from bench.figures import Run
from bench.hookd import hookd
from bench.latency import SETTLED, arrivals, percentile
from bench.postgres import Server, name_of, server
from bench.processes import end, family_time, first_line, spawn
from bench.publish import UNLIMITED
from bench.publishers import Order, Published, publish
from bench.report import CannotRun, Report, Subject
from bench.stamping import TITLE, Stamper, stamping

BEFORE = "8771ac4221c865be0fd47a3d1fbf851c62f1f3ae"
"""The commit that hookd is compared with: before a single event was given a way of its own to be cheap."""
RATE, SECONDS = 100, 20
CONNECTIONS = 32
FLAT_OUT, STEADY = "flat out", f"{RATE}/s"
OURS, OLD = "hookd", f"hookd at {BEFORE[:7]}"
YARDSTICKS = {"constant handler": "bench.constant_api", "floor": "bench.floor_api"}


@dataclass(frozen=True, slots=True)
class Build:
    """A hookd, ours or that of another checkout, with its state, a database to copy, and a subscription."""

    checkout: Path | None
    state: Path
    template: str
    org: UUID


def uses(size: int) -> dict[str, list[float]]:
    """Return for both uses when to publish, in seconds from the start."""
    return {
        FLAT_OUT: [0.0] * size,
        STEADY: [number / RATE for number in range(min(size, RATE * SECONDS))],
    }


def figures(published: Sequence[Published], done: Sequence[float], cpu: float, postgres: float = 0.0) -> Run:
    """Return what both uses are judged by; `cpu` and `postgres` are seconds of processor time."""
    flat_out = published[0].scheduled == published[-1].scheduled
    took = [
        (moment - (one.called if flat_out else one.scheduled)) * 1000
        for one, moment in zip(published, done, strict=True)
    ]
    each = 1e6 / len(took)
    return {
        "rate_per_s": len(took) / (max(done) - published[0].called),
        "cpu_us": cpu * each,
        "postgres_us": postgres * each,
        "all_us": (cpu + postgres) * each,
        "median_ms": median(took),
        "p99_ms": percentile(took, 0.99),
    }


def measure(options: Options, place: Path, report: Report) -> None:
    """Run each subject in both uses, each run of hookd with a database of its own."""
    report.parameters |= {"rate_per_s": RATE, "connections": CONNECTIONS, "before": BEFORE}
    checkouts = {OURS: None, OLD: earlier(BEFORE)}
    with ExitStack() as stack:
        stamper = stack.enter_context(stamping(place / "receiver", hosts=1))
        postgres = stack.enter_context(server(place / "postgres", options.database))
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        builds = {}
        for number, (name, checkout) in enumerate(checkouts.items()):
            template = stack.enter_context(postgres.database())
            build = Build(checkout, place / f"state{number}", name_of(template), uuid4())
            with hookd(build.state, template, checkout=checkout) as daemon:
                daemon.register(build.org, stamper.urls[0])
            builds[name] = build
        subjects: dict[str, Subject] = {}
        for use, offsets in uses(options.size).items():
            for name, build in builds.items():
                subjects[f"{name}, {use}"] = partial(_delivered, build, postgres, stamper, offsets)
            for name, module in YARDSTICKS.items():
                subjects[f"{name}, {use}"] = partial(answered, module, place / f"{module}.log", offsets)
        report.interleave(options.runs, subjects, say)
    _claim(report)


def _claim(report: Report) -> None:
    def part(figure: str, use: str) -> float:
        return report.ratio(figure, f"{OURS}, {use}", f"{OLD}, {use}")

    report.claim("single, flat out: rate, times the old", part("rate_per_s", FLAT_OUT), must=2.2, aim=3)
    for use, figure, what, must, aim in (
        (FLAT_OUT, "all_us", "processor", 0.5, 0.4),
        (STEADY, "all_us", "processor", 0.6, 0.45),
        (STEADY, "median_ms", "median", 0.6, 0.5),
        (STEADY, "p99_ms", "p99", 0.6, 0.5),
    ):
        report.claim(
            f"single, {use}: {what}, part of the old", part(figure, use), must=must, aim=aim, most=True
        )


def _delivered(build: Build, postgres: Server, stamper: Stamper, offsets: list[float]) -> Run:
    with (
        postgres.database(build.template) as url,
        hookd(build.state, url, UNLIMITED, checkout=build.checkout) as daemon,
    ):
        address, token = daemon.address.removeprefix("http://"), daemon.token(build.org, "publisher")
        time.sleep(SETTLED)
        cpu, postgres_cpu = daemon.cpu(), postgres.cpu()
        published = publish(Order("rest", address, [token], offsets, CONNECTIONS))
        came = arrivals(stamper, 0, len(offsets))
        cpu, after = daemon.cpu() - cpu, postgres.cpu()
    if postgres_cpu is None or after is None:
        raise CannotRun("Postgres' processor time is wanted: name a server on this machine with --database")
    return figures(published, came, cpu, after - postgres_cpu)


def answered(module: str, log: Path, offsets: list[float]) -> Run:
    """Publish to a module that answers and delivers nothing."""
    process = spawn([sys.executable, "-m", module], log)
    try:
        address = f"127.0.0.1:{first_line(process, log).split()[2]}"
        cpu = family_time(process.pid)
        published = publish(Order("rest", address, ["x" * 300], offsets, CONNECTIONS))
        cpu = family_time(process.pid) - cpu
    finally:
        end(process)
    return figures(published, [one.returned for one in published], cpu)


if __name__ == "__main__":
    command("single", __doc__, measure, size=10_000)
