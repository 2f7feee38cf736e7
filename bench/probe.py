"""Events at a steady rate to receivers of their own, which tell what others notice while something goes on.

    echo '{"where": "postgresql://…", "who": ["organisation", …], "rate": 10}' | python -m bench.probe

Publishes in a process of its own until its standard input is closed, event n at its moment whether or not
those before have returned, and prints for each the moments that `publishers` prints. Latencies run from the
scheduled moment to the arrival at the receiver that stamps, by the clock that all processes share: what a
stall delays counts, each event of it.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from uuid import UUID

from bench.figures import Run
from bench.latency import arrivals, percentile
from bench.processes import ROOT, end
from bench.publishers import AHEAD, Order, Publish, Published, sql
from bench.report import CannotRun
from bench.stamping import Stamper

CONNECTIONS = 4


class Probe:
    """A running one. `stop` it, then ask for the figures of any span of it. `close` it in the end."""

    def __init__(self, url: str, orgs: Sequence[UUID], rate: float, stamper: Stamper, log: Path) -> None:
        self._log = log
        self._stamper = stamper
        self._took: list[tuple[float, float]] = []
        self._orgs = list(orgs)
        order = {"where": url, "who": [str(org) for org in orgs], "rate": rate}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.probe"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=ROOT,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._stdin.write(json.dumps(order) + "\n")
        self._stdin.flush()
        if self._stdout.readline() != "ready\n":
            raise self._failed()

    def stop(self) -> None:
        """Publish no more, and wait for what is under way. Error: `CannotRun` if any does not arrive."""
        self._stdin.close()
        text = self._stdout.read()
        if self._process.wait():
            raise self._failed()
        published = [Published(*moments) for moments in json.loads(text)]
        came = arrivals(self._stamper, 0, len(published))
        self._took = [(one.scheduled, at - one.scheduled) for one, at in zip(published, came, strict=True)]

    def figures(self, since: float, until: float, *orgs: UUID) -> Run:
        """Return the latencies of what was to be published in that span of the monotonic clock.

        Of these organisations alone, if any are named. Error: `CannotRun` if that is nothing.
        """
        who = [org in orgs or not orgs for org in self._orgs]
        took = [
            seconds * 1000
            for number, (at, seconds) in enumerate(self._took)
            if since <= at < until and who[number % len(who)]
        ]
        if not took:
            raise CannotRun("it was over before one event was due: take a greater --size")
        return {
            "median_ms": median(took),
            "p99_ms": percentile(took, 0.99),
            "most_ms": max(took),
            "events": float(len(took)),
        }

    def close(self) -> None:
        """End its process."""
        with suppress(OSError):
            self._stdin.close()
        end(self._process)

    def _failed(self) -> CannotRun:
        return CannotRun(f"the probe ended: {self._log.read_text(errors='replace').strip()[-1000:]}")


@contextmanager
def probing(url: str, orgs: Sequence[UUID], rate: float, stamper: Stamper, log: Path) -> Iterator[Probe]:
    """Publish `rate` events a second through SQL for the block, by `orgs` in turn, or until it is stopped.

    Their subscriptions lead to `stamper`. Error: `CannotRun`.
    """
    stamper.ask("stamps")
    probe = Probe(url, orgs, rate, stamper, log)
    try:
        yield probe
    finally:
        probe.close()


async def publish(order: Order, rate: float, stopping: asyncio.Event) -> list[Published]:
    """Publish until `stopping`."""
    free: asyncio.Queue[Publish] = asyncio.Queue()
    for _ in range(order.connections):
        free.put_nowait(await sql(order))
    print("ready", flush=True)
    begin = time.monotonic() + AHEAD

    async def one(number: int) -> Published:
        scheduled = begin + number / rate
        send = await free.get()
        called = time.monotonic()
        await send(number)
        returned = time.monotonic()
        free.put_nowait(send)
        return Published(scheduled, called, returned)

    tasks: list[asyncio.Task[Published]] = []
    async with asyncio.TaskGroup() as group:
        while not stopping.is_set():
            if (wait := begin + len(tasks) / rate - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.append(group.create_task(one(len(tasks))))
    return [task.result() for task in tasks]


async def main() -> None:
    """Read the order, publish until the input is closed, and print the moments."""
    gc.disable()  # see `publishers.main`
    given = json.loads(sys.stdin.readline())
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stopping.set)
    order = Order("sql", given["where"], given["who"], [], CONNECTIONS)
    published = await publish(order, given["rate"], stopping)
    print(json.dumps([list(asdict(one).values()) for one in published]))


if __name__ == "__main__":
    asyncio.run(main())
