"""A `Database` that moves a test's clock, counts what it is asked for, and meddles with statements."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

import trio

from daemon.store.database import Connection, Database, Unit
from daemon.store.results import record_statement

T = TypeVar("T")

TICK = "update hookd.test_clock set now = now + interval '1 millisecond' returning now"
"""What a unit of work takes at least. Without it two rounds of routing would be at the same moment."""


@dataclass
class Clock:
    """What time it is in the database, as far as is known."""

    now: datetime


class Pause:
    """Holds up a unit of work between two of its statements: others are done meanwhile."""

    def __init__(self, before: str) -> None:
        self.before = before
        self.stopped = trio.Event()
        self._gone_on: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for `go_on`, in asyncio; once only."""
        if self.stopped.is_set():
            return
        self._gone_on = asyncio.get_running_loop().create_future()
        self.stopped.set()
        await self._gone_on

    def go_on(self) -> None:
        """Let the unit go on."""
        if self._gone_on is not None and not self._gone_on.done():
            self._gone_on.set_result(None)


@dataclass
class Meddling:
    """What befalls the next unit, once: which statements are refused, and of which the answer is lost."""

    refused: dict[str, Exception] = field(default_factory=dict)
    lost: str | None = None
    pause: Pause | None = None


class MeddledDatabase(Database):
    """Another database's units, meddled with; `driven` counts the statements that were run, by name."""

    def __init__(self, database: Database, clock: Clock, driven: Counter[str]) -> None:
        self._inner = database
        self.statements = database.statements
        self.schema = database.schema
        self.address = database.address
        self.clock = clock
        self.driven = driven
        self.meddling = Meddling()
        self._names = {text: name for name, text in self.statements.items()}
        self._names[record_statement(self.statements["record"])] = "record"

    def sql(self, name: str) -> str:
        """See `Database.sql`. A statement that is yet to be filled in counts from here on."""
        text = super().sql(name)
        if "{" in text:
            self.driven[name] += 1
        return text

    async def run(self, unit: Unit[T], timeout: float | None = None) -> T:
        """See `Database.run`."""

        async def meddled(connection: Connection) -> T:
            self.clock.now = await connection.fetchval(TICK)
            return await unit(cast(Connection, _Meddled(connection, self)))

        return await self._inner.run(meddled, timeout)

    async def before(self, statement: str) -> None:
        """Count a statement, refuse it or wait, as `meddling` says; in asyncio."""
        name = self._names.get(statement, "")
        self.driven[name] += 1
        if name in self.meddling.refused:
            raise self.meddling.refused.pop(name)
        pause = self.meddling.pause
        if pause is not None and pause.before == name:
            await pause.wait()

    def after(self, statement: str) -> None:
        """Lose the answer of a statement that was run, as `meddling` says."""
        if self.meddling.lost is not None and self._names.get(statement) == self.meddling.lost:
            self.meddling.lost = None
            raise TimeoutError


class _Meddled:
    """The connection of such a unit."""

    def __init__(self, connection: Connection, database: MeddledDatabase) -> None:
        self._connection = connection
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, statement: str, *arguments: object, **more: Any) -> Any:
        return await self._run(self._connection.fetch, statement, arguments, more)

    async def fetchrow(self, statement: str, *arguments: object, **more: Any) -> Any:
        return await self._run(self._connection.fetchrow, statement, arguments, more)

    async def fetchval(self, statement: str, *arguments: object, **more: Any) -> Any:
        return await self._run(self._connection.fetchval, statement, arguments, more)

    async def execute(self, statement: str, *arguments: object, **more: Any) -> Any:
        return await self._run(self._connection.execute, statement, arguments, more)

    async def _run(self, run: Any, statement: str, arguments: tuple[object, ...], more: Any) -> Any:
        await self._database.before(statement)
        result = await run(statement, *arguments, **more)
        self._database.after(statement)
        return result
