"""An innocent organisation beside one that attacks: what it notices of each attack.

Two innocent organisations publish 20 events a second each, one over REST and one through SQL, for as many
seconds as a twentieth of --size, to subscriptions at one host that the attacker uses as well. Hosts' limits
as shipped. Latencies run from the scheduled moment to the arrival. Meanwhile one of them lists its
subscriptions ten times a second. bench/attacks.py says what the attacker does; his process gives way to all
others, since his processors are not the daemon's in life.
"""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

from bench.attacks import ATTACKS, Field, Plan, under
from bench.command import Options, command, say
from bench.figures import Run
from bench.hookd import Hookd, hookd
from bench.latency import arrivals, percentile
from bench.nameserver import KNOWN, nameserver
from bench.postgres import Server, name_of, server
from bench.publishers import Order, Published, publish
from bench.report import Report
from bench.stamping import TITLE, Stamper, stamping

RATE = 20.0
SHIPPED_LIMITS = {"hosts.rate": 1000, "hosts.burst": 1000, "hosts.in_flight": 64}
SETTLED, BEGUN = 2.0, 3.0
"""Seconds after the start, and after the beginning of an attack, before what counts."""
ASK_EVERY = 0.1
KINDS = ("rest", "sql")
MEGABYTES = 400


def measure(options: Options, place: Path, report: Report) -> None:
    """Measure alone and under each attack, in turn."""
    seconds = max(1.0, options.size / RATE)
    report.parameters |= {"rate_per_s": RATE, "seconds": seconds, "settings": SHIPPED_LIMITS}
    with (
        stamping(place / "receiver", hosts=1) as stamper,
        nameserver(place / "nameserver", _address(stamper)) as resolver,
        server(place / "postgres", options.database) as postgres,
        postgres.database() as template,
    ):
        report.versions |= {"postgres": postgres.title, "receiver": TITLE}
        state, innocents = place / "state", [uuid4() for _ in KINDS]
        settings = {**SHIPPED_LIMITS, "egress.resolver": resolver}
        shared = f"http://{KNOWN}:{stamper.urls[0].rpartition(':')[2].partition('/')[0]}"
        with hookd(state, template, settings) as daemon:
            for org in innocents:
                daemon.register(org, f"{shared}/hook")
        neighbourhood = Neighbourhood(
            postgres, name_of(template), state, settings, stamper, shared, innocents, seconds
        )
        subjects = {"alone": lambda: neighbourhood.run(None)} | {
            name: (lambda plan=plan: neighbourhood.run(plan)) for name, plan in ATTACKS.items()
        }
        report.interleave(options.runs, subjects, say)
    for name in ATTACKS:
        for kind in KINDS:
            ratio = report.ratio(f"{kind}_median_ms", name, "alone")
            report.claim(f"{name}: {kind}, median / alone", ratio, must=1.5, aim=1.1, most=True)
            alone, found = report.median("alone", f"{kind}_p99_ms"), report.median(name, f"{kind}_p99_ms")
            more = found / max(3 * alone, alone + 50)
            report.claim(
                f"{name}: {kind}, p99 / 3 times alone (or 50 ms more)", more, must=1.0, aim=0.5, most=True
            )
        report.claim(
            f"{name}: longest answer of the API, ms",
            report.median(name, "answer_most_ms"),
            must=1000,
            aim=200,
            most=True,
        )
    for name in ("values", "uploads"):
        peak = report.median(name, "peak_mib") * 2**20 / 1e6
        report.claim(f"{name}: peak memory, MB", peak, must=MEGABYTES, aim=200, most=True)
    turn = report.median("values", "turn_most_ms")
    report.claim("values: longest turn of the loop, ms", turn, must=50, aim=20, most=True)


class Neighbourhood:
    """Runs the innocents, with or without an attack, each time on a daemon and a database of its own."""

    def __init__(
        self,
        postgres: Server,
        template: str,
        state: Path,
        settings: dict[str, object],
        stamper: Stamper,
        shared: str,
        innocents: list[UUID],
        seconds: float,
    ) -> None:
        self._postgres, self._template, self._state, self._settings = postgres, template, state, settings
        self._stamper, self._shared, self._innocents, self._seconds = stamper, shared, innocents, seconds

    def run(self, plan: Plan | None) -> Run:
        """Return what the innocents noticed, and what the daemon used."""
        longest = self._state / "longest"
        longest.write_text("0")
        program = ("bench.watched_loop", str(longest))
        with (
            self._postgres.database(self._template) as url,
            hookd(self._state, url, self._settings, program) as daemon,
        ):
            time.sleep(SETTLED)
            field = Field(daemon, url, self._shared, uuid4(), self._innocents)
            with under(plan, field) if plan else nullcontext():
                time.sleep(BEGUN)
                with asking(daemon, self._innocents[0]) as answers:
                    published = self._publish(daemon, url)
                    came = arrivals(self._stamper, 0, sum(map(len, published)))
                found = self._figures(published, came)
            found["answer_median_ms"] = median(answers) * 1000
            found["answer_most_ms"] = max(answers) * 1000
            found["turn_most_ms"] = json.loads(longest.read_text()) * 1000
            found["peak_mib"] = daemon.peak_mib()
        return found

    def _publish(self, daemon: Hookd, url: str) -> list[list[Published]]:
        """Publish both ways at once; return what was published, by kind."""
        offsets = [number / RATE for number in range(round(self._seconds * RATE))]
        tokens = [daemon.token(org, "publisher") for org in self._innocents]
        rest, sql = (tokens[0], daemon.address.removeprefix("http://")), (str(self._innocents[1]), url)
        orders = [
            Order(kind, where, [who], offsets, 4, first)
            for kind, (who, where), first in zip(KINDS, (rest, sql), (0, len(offsets)), strict=True)
        ]
        with ThreadPoolExecutor() as threads:
            return list(threads.map(publish, orders))

    def _figures(self, published: list[list[Published]], came: list[float]) -> dict[str, float]:
        found: dict[str, float] = {}
        first = 0
        for kind, some in zip(KINDS, published, strict=True):
            moments = came[first : first + len(some)]
            took = [(at - one.scheduled) * 1000 for one, at in zip(some, moments, strict=True)]
            found |= {
                f"{kind}_median_ms": median(took),
                f"{kind}_p99_ms": percentile(took, 0.99),
                f"{kind}_most_ms": max(took),
            }
            first += len(some)
        return found


@contextmanager
def asking(daemon: Hookd, org: UUID) -> Iterator[list[float]]:
    """List an organisation's subscriptions for the block; give the seconds that each answer took."""
    over = threading.Event()
    took: list[float] = []

    def ask() -> None:
        with daemon.client(org, "org_admin") as client:
            while not over.wait(ASK_EVERY):
                began = time.monotonic()
                client.get("/webhooks/").raise_for_status()
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def _address(stamper: Stamper) -> str:
    return stamper.urls[0].removeprefix("http://").partition(":")[0]


if __name__ == "__main__":
    command("neighbours", __doc__, measure, size=400)
