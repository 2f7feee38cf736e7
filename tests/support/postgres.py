"""Postgres for tests: one server for a run, a database for each test, sessions in forced order."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import trio
import trio_asyncio

from daemon.store.database import Connection
from daemon.store.embedded import embedded
from daemon.store.migrate import migrate
from daemon.store.statements import installed_files, load

T = TypeVar("T")

IN_MEMORY = "/dev/shm"
ROOM = 4 * 2**30
"""Bytes."""
# Nothing of a test needs to outlive a power cut.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "autovacuum_naptime": "1h",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """Give the URL of the server that `HOOKD_TEST_DATABASE` names, else of an embedded one in `directory`.

    Any number of processes may use the same directory at once: the last one stops the server.
    """
    if url := os.environ.get("HOOKD_TEST_DATABASE"):
        yield url
    else:
        with embedded(directory, FAST) as url:
            yield url


def quick_place() -> str:
    """Return where to put a server: in memory where that has room, else on the disk.

    A database is some 300 files, and a test's is made and dropped in 0.04 s there instead of 0.3.
    """
    with suppress(OSError):
        if shutil.disk_usage(IN_MEMORY).free >= ROOM and os.access(IN_MEMORY, os.W_OK):
            return IN_MEMORY
    return "/tmp"


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """Give a temporary directory that the account of root's server can reach, unlike pytest's `tmp_path`."""
    with TemporaryDirectory(prefix="hookd-test-", dir=quick_place()) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def fresh_database(server_url: str, template: str | None = None) -> Iterator[str]:
    """Give the URL of a new database, a copy of `template` if that is given, and drop it afterwards."""
    name = f"hookd_test_{uuid4().hex[:16]}"
    # Copying files takes half the time of the default, which writes each page to the log.
    _on_kept_connection(
        server_url, f"create database {name} template {template or 'template0'} strategy file_copy"
    )
    try:
        yield with_database(server_url, name)
    finally:
        _on_kept_connection(server_url, f"drop database {name} with (force)")


def migrated_template(server_url: str) -> str:
    """Return the name of a database on the server with the schema `hookd`, made once per state of the SQL."""
    text = "\0".join(part for pair in sorted(installed_files().items()) for part in pair)
    name = f"hookd_template_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    async def make() -> None:
        admin = await asyncpg.connect(server_url)
        try:
            await admin.execute("select pg_advisory_lock(hashtext('hookd test template'))")
            if await admin.fetchval("select exists(select from pg_database where datname = $1)", name):
                return
            building = f"{name}_building"
            await admin.execute(f"drop database if exists {building} with (force)")
            await admin.execute(f"create database {building} template template0")
            connection = await asyncpg.connect(with_database(server_url, building))
            try:
                await migrate(connection, load("hookd"))
            finally:
                await connection.close()
            await admin.execute(f"alter database {building} rename to {name}")
        finally:
            await admin.close()

    asyncio.run(make())
    return name


def with_database(url: str, name: str) -> str:
    """Return `url` with another database's name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def administer(server_url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


_kept: dict[str, tuple[asyncio.Runner, Connection]] = {}


def _on_kept_connection(server_url: str, statement: str) -> None:
    """Run a statement on a connection that this process keeps until its end.

    A new one costs as much as what each test asks of it: a database, and that it is dropped.
    """
    if server_url not in _kept:
        runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        _kept[server_url] = runner, runner.run(asyncpg.connect(server_url))
    runner, connection = _kept[server_url]
    runner.run(connection.execute(statement))


class Session:
    """One connection, used from Trio, for tests that force the order of two sessions.

    Start a call that is going to wait for a lock in a nursery; let the other side go on after `wait_blocked`.
    """

    def __init__(self, url: str, connection: Connection, watcher: Connection) -> None:
        self.url = url
        self.connection = connection
        self._watcher = watcher
        self._transaction: Any = None

    @property
    def pid(self) -> int:
        """The process id of the session's backend."""
        return self.connection.get_server_pid()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        return await self.run(lambda connection: connection.fetch(statement, *arguments))

    async def fetchrow(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """Run a statement and return its first row."""
        return await self.run(lambda connection: connection.fetchrow(statement, *arguments))

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """Run a statement and return the first value of its first row."""
        return await self.run(lambda connection: connection.fetchval(statement, *arguments))

    async def execute(self, statement: str, *arguments: object) -> str:
        """Run a statement (or, without arguments, several) and return the server's tag."""
        return await self.run(lambda connection: connection.execute(statement, *arguments))

    async def run(self, unit: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a unit of work, as `Database.run` would, on this session's connection."""

        async def hop() -> T:
            return await unit(self.connection)

        result: T = await trio_asyncio.aio_as_trio(hop)()
        return result

    async def begin(self, isolation: str = "read committed") -> None:
        """Begin a transaction."""
        await self.execute(f"begin isolation level {isolation}")

    async def commit(self) -> None:
        """Commit the transaction."""
        await self.execute("commit")

    async def rollback(self) -> None:
        """Roll the transaction back."""
        await self.execute("rollback")

    async def wait_blocked(self, by: "Session | None" = None, seconds: float = 10.0) -> None:
        """Return when this session waits for a lock that another holds (`by`, if given)."""

        async def look() -> bool:
            blockers = await self._watcher.fetchval("select pg_blocking_pids($1)", self.pid)
            return by.pid in blockers if by else bool(blockers)

        with trio.fail_after(seconds):
            # What is awaited happens in another process, so there is no event to wait for.
            while not await trio_asyncio.aio_as_trio(look)():  # noqa: ASYNC110
                await trio.sleep(0.002)


@asynccontextmanager
async def connect_session(url: str, application_name: str = "hookd-test") -> AsyncIterator[Session]:
    """Open a `Session` on `url` for the block."""
    settings = {"application_name": application_name}

    async def connect() -> Connection:
        return await asyncpg.connect(url, command_timeout=60, server_settings=settings)

    connection: Connection = await trio_asyncio.aio_as_trio(connect)()
    watcher: Connection = await trio_asyncio.aio_as_trio(connect)()
    try:
        yield Session(url, connection, watcher)
    finally:
        connection.terminate()
        watcher.terminate()
