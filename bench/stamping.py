"""The receiver that stamps what comes, as benchmarks use it."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import end, first_line, spawn
from bench.receiving import addresses, free_port

TITLE = "our own, which stamps each event (asyncio, one process)"


@dataclass(frozen=True, slots=True)
class Stamper:
    """A running one. `urls`: one for each host."""

    urls: list[str]
    control: int

    def ask(self, what: str) -> dict[str, Any]:
        """Tell it "stamps", "hold/N" or "release"; see `stamping_receiver`."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.control}/{what}", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def stamping(directory: Path, *, hosts: int) -> Iterator[Stamper]:
    """Run one for the block. Error: `CannotRun`."""
    directory.mkdir(parents=True)
    listened = addresses(hosts)
    port, control = free_port(listened[0]), free_port("127.0.0.1")
    log = directory / "receiver.log"
    process = spawn(
        [sys.executable, "-m", "bench.stamping_receiver", str(port), str(control), *listened], log
    )
    first_line(process, log)
    try:
        yield Stamper([f"http://{one}:{port}/hook" for one in listened], control)
    finally:
        end(process)
