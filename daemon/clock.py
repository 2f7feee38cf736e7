"""The one clock of hookd, Postgres': what a daemon knows of it between two looks.

It runs on this machine's time since boot, which nobody sets, and is corrected by what Postgres tells. The
machine's own date and time count for nothing but to say how wrong they are.
"""

import time
from collections.abc import Callable

NOTABLE = 2.0
"""Seconds by which the machine's clock may differ before that is worth a word."""


def since_boot() -> float:
    """Return the seconds since this machine started, those of its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Tells the time of the database; until the first `correct`, that of this machine.

    `steady` counts seconds evenly from any moment on, `wall` gives the machine's own Unix time.
    """

    def __init__(
        self, *, steady: Callable[[], float] = since_boot, wall: Callable[[], float] = time.time
    ) -> None:
        self.steady = steady
        self._wall = wall
        self._start = wall() - steady()  # the Unix time at which `steady` stood at 0

    def now(self) -> float:
        """Return the database's time in Unix seconds."""
        return self.steady() + self._start

    @property
    def offset(self) -> float:
        """By how many seconds the machine's clock is ahead of the database's; below 0: behind."""
        return self._wall() - self.now()

    def correct(self, told: float, *, asked: float, answered: float) -> float:
        """Take in that the database's clock showed `told`, at some moment from `asked` to `answered`.

        These two are readings of `steady`. The clock is moved no further than to the nearest time that is
        possible then, so that a slow answer never makes it worse. Returns by how many seconds it was moved.
        """
        before = self._start
        self._start = min(max(before, told - answered), told - asked)
        return self._start - before


def distance(seconds: float) -> str:
    """Return a span of time for people, in two units: "40 days 0 h", "10 min 3 s", "2.5 s"."""
    seconds = abs(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    days = whole // 86_400
    return f"{days} day{'s' if days > 1 else ''} {whole % 86_400 // 3600} h"


def against_postgres(offset: float) -> str:
    """Return in words how the machine's clock stands to Postgres', by its `Clock.offset`."""
    return f"{distance(offset)} {'ahead of' if offset > 0 else 'behind'} Postgres'"
