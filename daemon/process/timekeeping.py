"""Keeping the daemon's clock right: it follows Postgres', and says when this machine's is another."""

import logging
import math
from collections.abc import Callable

import trio

from daemon.clock import NOTABLE, Clock, against_postgres, distance
from daemon.delivery.run_forever import Pauses, run_forever
from daemon.store.database import Connection, Database
from daemon.store.database_clock import correct_clock

logger = logging.getLogger("hookd.clock")

PERIOD = 15.0
LEAP = 60.0
"""Seconds from which on a move of Postgres' clock is no correction any more."""
WARNING_INTERVAL = 60.0


class OffsetWarnings:
    """What to say of the machine's clock: at once when it is wrong, once a minute while it is, once after."""

    def __init__(self) -> None:
        self._said = -math.inf
        self._wrong = False

    def about(self, offset: float, now: float) -> str | None:
        """Return what is to be said of an `offset` at `now`, seconds of any even clock; None: nothing."""
        if abs(offset) > NOTABLE:
            if now - self._said < WARNING_INTERVAL:
                return None
            self._said, self._wrong = now, True
            return (
                f"the clock of this machine is {against_postgres(offset)}: Postgres' is used; look at both"
                " (timedatectl) and correct the one that is wrong"
            )
        if self._wrong and abs(offset) < NOTABLE / 2:
            self._said, self._wrong = -math.inf, False
            return "the clock of this machine agrees with Postgres' again"
        return None


async def serve_clock(
    database: Database, clock: Clock, *, leapt: Callable[[], None], stopping: trio.Event
) -> None:
    """Correct `clock` every quarter of a minute until `stopping`; `leapt` is called after a leap."""
    warnings = OffsetWarnings()

    async def unit(connection: Connection) -> float:
        return await correct_clock(connection, database, clock)

    async def step(woken: bool) -> float:
        moved = await database.run(unit)
        if abs(moved) > LEAP:
            way = "ahead" if moved > 0 else "back"
            logger.warning(
                "Postgres' clock has leapt %s %s, and hookd follows it; correct it if that is wrong",
                distance(moved),
                way,
            )
            leapt()
        words = warnings.about(clock.offset, trio.current_time())
        if words is not None:
            logger.warning("%s", words)
        return PERIOD

    await run_forever("clock", step, stopping, pauses=Pauses(retry=PERIOD, outage=PERIOD, fault=PERIOD))
