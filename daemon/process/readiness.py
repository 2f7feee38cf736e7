"""What /health/ready answers: whether this daemon publishes and delivers, and if not, what is in the way."""

from collections.abc import Callable, Sequence

import trio

from api.jwks import KeySet
from api.services import Check
from daemon.clock import NOTABLE, Clock, against_postgres
from daemon.egress.proxy_health import ProxyHealth
from daemon.progress import PATIENCE, Progress, Way
from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.failure import READ_ONLY_SETTING, STANDBY

TIMEOUT = 1.5


class Readiness:
    """The checks of one daemon. `key_set`: where the keys for tokens come from, if they are fetched; `proxy`:
    how the one that requests go through does, if there is one.
    """

    def __init__(
        self,
        database: Database,
        way: Way,
        *,
        stopping: Callable[[], bool],
        key_set: KeySet | None,
        clock: Clock,
        proxy: ProxyHealth | None = None,
    ) -> None:
        self._database = database
        self._way = way
        self._stopping = stopping
        self._key_set = key_set
        self._clock = clock
        self._proxy = proxy

    async def checks(self) -> Sequence[Check]:
        """Look now, for at most `TIMEOUT` seconds."""
        stopping = self._stopping()
        checks = [Check("running", not stopping, "stopping; ask another daemon" if stopping else "")]
        if self._key_set is not None:
            known = self._key_set.is_known
            checks.append(Check("keys", known, "" if known else "no keys for tokens yet; the log says why"))
        checks.append(_check_clock(self._clock.offset))
        if self._proxy is not None:
            checks.append(_check_proxy(self._proxy.down))
        checks.append(await self._check_database())
        return [*checks, *(_check_part(part, self._way.cause) for part in self._way.parts)]

    async def _check_database(self) -> Check:
        statement = self._database.sql("writable")

        async def unit(connection: Connection) -> tuple[bool, bool]:
            (row,) = await connection.fetch(statement)
            return row["writable"], row["standby"]

        with trio.move_on_after(TIMEOUT):
            try:
                writable, standby = await self._database.run(unit)
            except (DatabaseUnavailable, RetryTransaction) as error:
                return Check("database", False, str(error))
            detail = "" if writable else STANDBY if standby else READ_ONLY_SETTING
            return Check("database", writable, detail)
        late = f"Postgres, or a connection of the pool, took more than {TIMEOUT:g} s"
        return Check("database", False, late)


def _check_clock(offset: float) -> Check:
    """Tell of a clock that is wrong, which keeps a daemon from nothing: it goes by Postgres'."""
    detail = f"the clock of this machine is {against_postgres(offset)}" if abs(offset) > NOTABLE else ""
    return Check("clock", True, detail)


def _check_proxy(down: str) -> Check:
    """Tell of a proxy that is down. Events are still taken, and kept: no other daemon could send them."""
    return Check("proxy", True, f"nothing goes through egress.proxy: {down}" if down else "")


def _check_part(part: Progress, cause: str) -> Check:
    stood = part.stood()
    if stood > PATIENCE:
        why = cause or part.error or "see the log"
        return Check(part.name, False, f"no progress for {stood:.0f} s: {why}")
    return Check(part.name, part.proven, "" if part.proven else "has not done its first round yet")
