"""The faulty receiver, as benchmarks use it, and what it saw of events that were published on a schedule."""

import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.figures import Run
from bench.latency import percentile
from bench.processes import end, first_line, spawn
from bench.publishers import Published
from bench.receiving import addresses, free_port

TITLE = "our own, which fails as told (asyncio, one process)"
LOOK = 0.25
"""Seconds between two looks at what has come."""
MAX_WAIT = 120.0
"""Seconds for which what does not come is waited for."""


@dataclass(slots=True)
class Faulty:
    """A running one. `urls`: one for each host.

    `first`, `good`: when each event came first, and when to a good answer; `every`: all times it came.
    """

    urls: list[str]
    control: int
    first: dict[int, float] = field(default_factory=dict)
    good: dict[int, float] = field(default_factory=dict)
    every: dict[int, list[float]] = field(default_factory=dict)
    most: int = 0
    delay: float = 0.0

    def set(self, *, delay: float, kind: str = "503", share: float = 0.0, number: int = -1) -> None:
        """Let it behave so from now on, and forget what came; see `faulty_receiver`."""
        self.delay = delay
        self._ask("set", delay=delay, kind=kind, share=share, number=number)
        self.first, self.good, self.every = {}, {}, {}

    def turn(self, kind: str, share: float) -> None:
        """Let that share of what comes from now on fail; what came is kept."""
        self.look()
        self._ask("set", delay=self.delay, kind=kind, share=share)

    def away(self, seconds: float) -> float:
        """Let it refuse everybody for so long; return when it is back, by the monotonic clock."""
        self._ask("away", seconds=seconds)
        return time.monotonic() + seconds

    def look(self) -> None:
        """Take over what has come."""
        found = self._ask("stamps")
        self.most = found["most"]
        for number, moment, good in found["stamps"]:
            self.first.setdefault(number, moment)
            self.every.setdefault(number, []).append(moment)
            if good:
                self.good.setdefault(number, moment)

    def until(self, came: dict[int, float], numbers: Sequence[int], patience: float) -> None:
        """Look until all these have come, or none has for so many seconds, or not all within `MAX_WAIT`."""
        best, moved = -1, time.monotonic()
        ended = moved + MAX_WAIT
        while True:
            self.look()
            reached = sum(number in came for number in numbers)
            now = time.monotonic()
            if reached == len(numbers) or now > ended or (reached <= best and now - moved > patience):
                return
            if reached > best:
                best, moved = reached, now
            time.sleep(LOOK)

    def _ask(self, what: str, **given: object) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"http://127.0.0.1:{self.control}/{what}?{urlencode(given)}"
        with opener.open(url, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def faulty(directory: Path, *, hosts: int) -> Iterator[Faulty]:
    """Run one for the block. Error: `CannotRun`."""
    directory.mkdir(parents=True)
    listened = addresses(hosts)
    port, control = free_port(listened[0]), free_port("127.0.0.1")
    log = directory / "receiver.log"
    process = spawn([sys.executable, "-m", "bench.faulty_receiver", str(port), str(control), *listened], log)
    first_line(process, log)
    try:
        yield Faulty([f"http://{one}:{port}/hook" for one in listened], control)
    finally:
        end(process)


def lateness(published: Sequence[Published], first: int, came: dict[int, float], since: float = 0.0) -> Run:
    """Return how late events came, from when they were to be published, or `since` if that is later.

    One that has not come is as late as it is now, and `missing`.
    """
    now = time.monotonic()
    arrivals = [came.get(number, now) for number in range(first, first + len(published))]
    waits = [(at - max(one.scheduled, since)) * 1000 for one, at in zip(published, arrivals, strict=True)]
    over = published[-1].scheduled
    return {
        "p50_ms": percentile(waits, 0.5),
        "p99_ms": percentile(waits, 0.99),
        "worst_ms": max(waits),
        "after_end_s": max(0.0, max(arrivals) - over),
        "missing": float(sum(first + number not in came for number in range(len(published)))),
    }
