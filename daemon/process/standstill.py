"""Standstill: one line when events do not get on and what is in their way, one a minute, one when they do."""

import logging
import math
from collections.abc import Sequence

import trio
from asyncpg import PostgresError

from daemon.progress import Progress, Way
from daemon.store.blocking import look_for_block
from daemon.store.database import Database, DatabaseUnavailable

logger = logging.getLogger("hookd")

PERIOD = 1.0
WARNING_INTERVAL = 60.0


class Standstill:
    """What to say, and when. `now` is always that of one even clock, in seconds."""

    def __init__(self) -> None:
        self._said = -math.inf
        self._since = math.inf
        self._names: list[str] = []

    def due(self, standing: Sequence[Progress], now: float) -> bool:
        """Note which parts stand still; return whether it is time to say what is in their way."""
        for part in standing:
            self._since = min(self._since, now - part.stood())
            if part.name not in self._names:
                self._names.append(part.name)
        return bool(standing) and now >= self._said + WARNING_INTERVAL

    def warning(self, standing: Sequence[Progress], cause: str, now: float) -> str:
        """Return what is said of the parts that stand still."""
        self._said = now
        names = ", ".join(part.name for part in standing)
        return f"no progress for {now - self._since:.0f} s in {names}: {cause}"

    def over(self, standing: Sequence[Progress], now: float) -> str | None:
        """Return what is said once nothing stands still any more."""
        if standing or self._since == math.inf:
            return None
        text = f"progress again in {', '.join(self._names)}, after {now - self._since:.0f} s"
        told = self._said > -math.inf
        self._said, self._since, self._names = -math.inf, math.inf, []
        return text if told else None


async def serve_standstill(database: Database, way: Way) -> None:
    """Look every second, until cancelled."""
    standstill = Standstill()
    while True:
        await trio.sleep(PERIOD)
        standing = way.standing()
        now = trio.current_time()
        if standstill.due(standing, now):
            way.cause = await _cause(database, standing)
            if standing := way.standing():
                logger.warning("%s", standstill.warning(standing, way.cause, trio.current_time()))
        elif text := standstill.over(standing, now):
            way.cause = ""
            logger.warning("%s", text)


async def _cause(database: Database, standing: Sequence[Progress]) -> str:
    told = next((part.error for part in standing if part.error), "")
    backends = [pid for part in standing for pid in part.backends()]
    try:
        seen = await look_for_block(database, backends)
    except DatabaseUnavailable as error:
        return told or str(error)
    except PostgresError as error:
        seen = f"{error!r}"
    return seen or told or "Postgres shows nothing that it waits for; see the server's load and its log"
