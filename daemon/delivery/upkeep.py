"""Upkeep: partitions made far ahead and dropped when old, what nobody needs any more forgotten."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import trio

from daemon.clock import distance
from daemon.delivery.attempt_metrics import count_given_up
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.run_forever import Pauses, run_forever
from daemon.metrics import Metrics
from daemon.rfc3339 import rfc3339
from daemon.store.database import Connection, Database
from daemon.store.retention import SeenClock, retain, see_clock
from daemon.store.set_back import set_back
from daemon.store.upkeep import Partitions, forget_hosts, forget_keys, forget_secrets, make_partitions

logger = logging.getLogger("hookd.upkeep")

PERIOD = 3600.0
LOOK_PERIOD = 60.0
PAUSES = Pauses(retry=30.0, outage=30.0, fault=30.0)
ALARM = timedelta(weeks=3)


@dataclass
class Upkeep:
    """Keeps eight weeks of partitions ahead, and drops what is older than `ages` gives (seconds, by table).

    It does so every hour, after a leap of Postgres' clock, for which it looks every minute, and when `wake`
    is set. After a leap nothing is dropped before the new time has stood for an hour. `wake_claimer` is
    called when the queue has followed a clock that was set back, so that something may be due.
    """

    database: Database
    ages: Callable[[], Mapping[str, float]]
    wake: AutoResetEvent
    wake_claimer: Callable[[], None]
    metrics: Metrics
    _next_round: float = -math.inf

    async def run(self, stopping: trio.Event) -> None:
        """Look after all that until `stopping`."""
        await run_forever("upkeep", self._step, stopping, wake=self.wake, pauses=PAUSES)

    async def _step(self, woken: bool) -> float:
        if woken:
            self._next_round = -math.inf
        seen = await see_clock(self.database)
        if seen.leapt_from is not None:
            _tell_of_leap(seen.at, seen.leapt_from, seen.even_from)
            self._next_round = -math.inf
        if trio.current_time() >= self._next_round:
            await _round(self.database, self.ages(), seen, self.metrics)
            self._next_round = trio.current_time() + pause_after(seen)
        if seen.set_back_from is not None and await set_back(self.database, seen.set_back_from):
            logger.info("what waited by the clock before it was set back goes by the new one now")
            self.wake_claimer()
        return LOOK_PERIOD


def pause_after(seen: SeenClock) -> float:
    """Return the seconds until the next round: until the clock may be gone by again, if that is sooner."""
    if seen.is_even:
        return PERIOD
    return min(PERIOD, (seen.even_from - seen.at).total_seconds() + 1)


async def _make_partitions(database: Database) -> None:
    """Make what is missing; an error line says so if fewer than three weeks are left after that."""

    async def unit(connection: Connection) -> Partitions:
        return await make_partitions(connection, database)

    partitions = await database.run(unit)
    for name in partitions.made:
        logger.info("made the partition %s", name)
    if partitions.left < ALARM:
        logger.error(
            "partitions reach only to %s: publishing fails after that; see the log of Postgres for why"
            " none can be made",
            partitions.until.date(),
        )


async def _round(database: Database, ages: Mapping[str, float], seen: SeenClock, metrics: Metrics) -> None:
    """Make partitions, and drop what its age ends if the clock may be gone by."""
    await _make_partitions(database)
    await forget_hosts(database)
    if not seen.is_even:
        return
    await forget_keys(database)
    await forget_secrets(database, ages["attempt"])

    def expired(count: int) -> None:
        count_given_up(metrics, "expired", count)

    for name in await retain(database, ages, now=seen.at, expired=expired):
        logger.info("dropped the partition %s, as [retention] says", name)


def _tell_of_leap(now: datetime, before: datetime, even_from: datetime) -> None:
    away = now - before
    # A stop of some hours looks like a leap, too, and needs nobody.
    level = logging.INFO if timedelta(0) < away < timedelta(days=1) else logging.WARNING
    logger.log(
        level,
        "Postgres' clock says %s and was last seen at %s, %s %s: nothing is dropped by its age before %s,"
        " when that time has stood for an hour; correct the clock until then if it is wrong",
        rfc3339(now, milliseconds=False),
        rfc3339(before, milliseconds=False),
        distance(away.total_seconds()),
        "before" if away > timedelta(0) else "after",
        rfc3339(even_from, milliseconds=False),
    )
