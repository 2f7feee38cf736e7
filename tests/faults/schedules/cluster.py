"""The Postgres of a schedule: clusters of its own, to crash, and to leave for another by dump and restore."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import trio

from daemon.store.embedded import Embedded
from daemon.store.embedded_binaries import find_installation
from daemon.store.embedded_home import SOCKET_NAME
from tests.support.postgres import with_database

T = TypeVar("T")

# A crash of the server loses nothing that was committed, as the kernel keeps what was written.
SETTINGS = {"fsync": "off", "max_connections": "200", "autovacuum_naptime": "1h", "shared_buffers": "32MB"}
ROLE = "app"
OLD_COUNTER = 20_000
"""Transactions that the first cluster has seen, so that another's counter is lower."""
PATIENCE = 60.0


class Cluster:
    """A server of our own in `directory`. All methods but `socket` block."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._server = Embedded(directory, SETTINGS)
        self.url = self._server.url
        administer(self.url, f"create role {ROLE} login")

    @property
    def socket(self) -> str:
        """The path of the server's socket."""
        return f"{parse_qs(urlsplit(self.url).query)['host'][0]}/{SOCKET_NAME}"

    def crash(self) -> None:
        """End all its processes at once, and start it again, which replays its log."""
        lines = (self._directory.resolve() / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGQUIT)  # "immediate shutdown"
        self._server.ensure()

    def close(self) -> None:
        """Stop it."""
        self._server.close()


class Place:
    """The database of one schedule, wherever it is at the moment."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = f"schedule_{uuid4().hex[:12]}"
        administer(cluster.url, f"create database {self.name} owner {ROLE}")
        administer(self.url, "create table public.ledger (event uuid primary key)")

    @property
    def url(self) -> str:
        """The URL of the database for an account that no limit holds."""
        return with_database(self.cluster.url, self.name)

    def move(self, other: Cluster) -> None:
        """Dump the database and restore it in another cluster, where it goes on."""
        installation = find_installation()
        assert installation is not None
        dump = [str(installation / "bin" / "pg_dump"), "--format=custom", self.url]
        administer(other.url, f"create database {self.name} owner {ROLE}")
        restore = [str(installation / "bin" / "pg_restore"), "--exit-on-error"]
        content = subprocess.run(dump, check=True, capture_output=True).stdout
        where = f"--dbname={with_database(other.url, self.name)}"
        subprocess.run([*restore, where], check=True, input=content, capture_output=True)
        administer(self.cluster.url, f"drop database {self.name} with (force)")
        self.cluster = other

    def drop(self) -> None:
        """Remove the database."""
        administer(self.cluster.url, f"drop database {self.name} with (force)")

    async def do(self, unit: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
        """Run an asyncio function with a connection, in a thread; try again while there is none."""

        async def run() -> T:
            connection = await _connect(self.url)
            try:
                return await unit(connection)
            finally:
                connection.terminate()

        return await trio.to_thread.run_sync(lambda: asyncio.run(run()))

    async def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""

        async def unit(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            for statement in statements:
                await connection.execute(statement)

        await self.do(unit)

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Return the rows of a query."""
        return await self.do(lambda connection: connection.fetch(query, *arguments))


def administer(url: str, *statements: str) -> None:
    """Run statements as the owner of the cluster, blocking."""

    async def run() -> None:
        connection = await _connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            connection.terminate()

    # a thread, for this one may run Trio with another loop's policy
    asyncio.run(run())


def count_up(transactions: int) -> str:
    """Return the statement that moves the cluster's transaction counter on."""
    return (
        f"do $$ begin for i in 1..{transactions} loop perform pg_current_xact_id(); commit; end loop; end $$"
    )


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            return await asyncpg.connect(
                url,
                timeout=10,
                command_timeout=PATIENCE,
                server_settings={"default_transaction_read_only": "off"},
            )
        except (OSError, TimeoutError, asyncpg.PostgresError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)
