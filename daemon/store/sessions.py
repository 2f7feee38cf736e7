"""What hookd's sessions with Postgres are like, whatever the account, the database or the server says.

The settings go along when a connection is made, and so precede those of `alter role` and `alter database`. A
pooler between may refuse or lose them: what arrived is looked at once, at the start.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import asyncpg

from daemon.store.failure import DatabaseRefused
from daemon.store.statements import Statements

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = object

SETTINGS: Mapping[str, str] = {
    # What a statement means, and what values look like as text.
    "search_path": "pg_catalog, pg_temp",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "on",
    "plpgsql.extra_errors": "none",
    # The queue locks first and reads then, in a statement of its own that sees what the lock waited for.
    "default_transaction_isolation": "read committed",
    # Statements have the deadlines of `database.command_timeout`.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "exit_on_error": "off",
    # What a plan may use. The JIT takes seconds to compile what asyncpg asks of types.
    "jit": "off",
    "plan_cache_mode": "auto",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on",
    "enable_nestloop": "on",
    "enable_sort": "on",
}
POOLED = frozenset({"standard_conforming_strings", "DateStyle", "TimeZone"})
"""Those that PgBouncer passes on; it lets nobody in who brings others."""
CONNECT_TIMEOUT = 5.0
PROBE_TIMEOUT = 5.0
PROBES = 3


class Sessions:
    """Opens connections to the database `url`, each with `SETTINGS`.

    Known after `examine`: `direct`, there is no pooler between; `pooled`, one gives every transaction another
    session of Postgres, so that nothing stays from one to the next.
    """

    def __init__(
        self,
        url: str,
        statements: Statements,
        *,
        application_name: str,
        command_timeout: float,
        prepared_statements: bool,
    ) -> None:
        self._statements = statements
        self._settings = {**SETTINGS, "application_name": application_name}
        self._prepared = prepared_statements
        self._connect: Any = partial(
            asyncpg.connect,
            url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=command_timeout,
            statement_cache_size=100 if prepared_statements else 0,
            target_session_attrs=_wanted_of_hosts(url),
        )
        self.direct = True
        self.pooled = False

    async def open(
        self, *_: object, among: "WeakSet[Connection] | None" = None, **of_pool: object
    ) -> Connection:
        """Open a connection, from asyncio, and put it `among` others; with what an asyncpg pool adds."""
        try:
            connection: Connection = await self._connect(server_settings=self._settings, **of_pool)
        except asyncpg.ProtocolViolationError as error:
            names = POOLED | {"application_name"}
            if "startup parameter" not in str(error) or self._settings.keys() <= names:
                raise
            self._settings = {name: self._settings[name] for name in names}
            connection = await self._connect(server_settings=self._settings, **of_pool)
        if among is not None:
            among.add(connection)
        return connection

    async def examine(self, connection: Any) -> None:
        """See that the sessions are as they must be. Error: `DatabaseRefused`, with the remedy."""
        (row,) = await connection.fetch(self._statements["session"], list(SETTINGS))
        wrong = differences(row["settings"])
        if wrong:
            raise DatabaseRefused(remedy(row["account"], wrong))
        if self.direct and row["backend"] != connection.get_server_pid():
            self.direct = False
            await self._look_for_pooler()

    async def _look_for_pooler(self) -> None:
        """Find out whether the pooler that answers gives each transaction another session."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await self._share_a_session(await self.open(), await self.open())
        except TimeoutError:
            pass  # it has one session for all, which keeps what was prepared

    async def _share_a_session(self, first: Connection, second: Connection) -> None:
        statement = self._statements["backend"]
        try:
            for _ in range(PROBES):
                backend = await first.fetchval(statement)
                async with second.transaction():
                    if await second.fetchval(statement) == backend:
                        self.pooled = True
                        await first.fetchval(statement)  # elsewhere, where it was not prepared
                        return
        finally:
            first.terminate()
            second.terminate()


def differences(settings: Sequence[str | None]) -> dict[str, tuple[str, str]]:
    """Return what each setting is and must be, of those that are wrong; `settings` as in `SETTINGS`."""
    return {
        name: (found, wanted)
        for (name, wanted), found in zip(SETTINGS.items(), settings, strict=True)
        if found is not None and found != wanted
    }


def remedy(account: str, wrong: Mapping[str, tuple[str, str]]) -> str:
    """Return a sentence with what was found and the SQL that mends it."""
    found = ", ".join(f"{name} = {value}" for name, (value, _) in wrong.items())
    role = '"' + account.replace('"', '""') + '"'
    lines = " ".join(
        f"alter role {role} set {name} = {_literal(wanted)};" for name, (_, wanted) in wrong.items()
    )
    return (
        f"hookd's sessions have {found}, and what hookd sets itself does not come through: there is a pooler"
        f" between. Run: {lines} Then let the pooler connect anew (RECONNECT in PgBouncer's console)"
    )


def _literal(value: str) -> str:
    return ", ".join("'" + part + "'" for part in value.split(", "))


def _wanted_of_hosts(url: str) -> str | None:
    """Return what is asked of the hosts where there are several: the one that takes writes, if not told."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # said when it is used
    several = "," in unquote(parts.netloc.rpartition("@")[2]) or (
        "host=" in parts.query and "," in unquote(parts.query)
    )
    told = "target_session_attrs=" in parts.query or "PGTARGETSESSIONATTRS" in os.environ
    return "read-write" if several and not told else None
