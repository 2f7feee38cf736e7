"""The daemon as shipped, and how long the longest turn of its loop took.

    python -m bench.watched_loop FILE run --set …

Writes to FILE, each time a turn was longer than all before, the seconds that it took. A turn is all that runs
between two waits for input: nobody else of the process is served meanwhile.
"""

import sys
import time
from pathlib import Path

import trio

from daemon.cli.main import main

AT_START = 5.0
"""Seconds after the first turn that do not count: what is imported and set up then keeps nobody waiting."""


class LongestTurn(trio.abc.Instrument):
    """Notes the longest turn."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._began = time.monotonic()
        self._counts_from = self._began + AT_START
        self._longest = 0.0

    def after_io_wait(self, timeout: float) -> None:
        """Begin a turn."""
        self._began = time.monotonic()

    def before_io_wait(self, timeout: float) -> None:
        """End it."""
        now = time.monotonic()
        if now - self._began > self._longest and self._began > self._counts_from:
            self._longest = now - self._began
            self._file.write_text(f"{self._longest:.6f}")


if __name__ == "__main__":
    instrument = LongestTurn(Path(sys.argv.pop(1)))
    run = trio.run
    vars(trio)["run"] = lambda *args, **more: run(*args, **more, instruments=[instrument])
    main()
