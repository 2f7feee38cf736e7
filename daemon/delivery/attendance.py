"""Attendance: a daemon that claims says so now and then, and each prefers a part of the hosts."""

import logging
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import trio
from asyncpg import PostgresError

from daemon.delivery.run_forever import Pauses, jittered, run_forever
from daemon.store.attendance import ALONE, Place, attend, leave
from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction

logger = logging.getLogger("hookd.attendance")

PERIOD, LIFETIME = 5.0, 15.0
"""Seconds from one word to the next, and after which whoever is silent counts no more."""
PAUSES = Pauses(retry=PERIOD, outage=PERIOD, fault=60.0)
MAX_LEAVING = 1.0
"""Seconds that saying goodbye may take."""


@dataclass
class Attendance:
    """Tells the others that this daemon lives; `place` is its place among those that do.

    While Postgres does not answer, the last place counts: an old one only costs speed.
    """

    database: Database
    place: Place = ALONE
    _daemon: UUID = field(default_factory=uuid4)

    async def run(self, stopping: trio.Event) -> None:
        """Attend until `stopping`."""
        await run_forever("attendance", self._step, stopping, pauses=PAUSES)
        with trio.move_on_after(MAX_LEAVING):
            try:
                await leave(self.database, self._daemon)
            except (DatabaseUnavailable, RetryTransaction, PostgresError) as error:
                logger.debug("the other daemons notice by themselves that this one has gone: %s", error)

    async def _step(self, woken: bool) -> float:
        self.place = await attend(self.database, self._daemon, LIFETIME)
        return jittered(PERIOD)
