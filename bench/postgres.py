"""Postgres for benchmarks: the embedded server with its own settings, or one that is given."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from bench.processes import family_time, times
from bench.report import CannotRun
from daemon.store.database import Connection
from daemon.store.embedded import EmbeddedError, embedded

T = TypeVar("T")

WAL_FILES = 56
"""Of 16 MiB each: a little less than `max_wal_size` of the embedded server."""


class Sql:
    """One connection, for code that does not wait in an event loop."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        try:
            self.connection: Connection = self._runner.run(asyncpg.connect(url))
        except (OSError, asyncpg.PostgresError) as error:
            self._runner.close()
            raise CannotRun(f"Postgres cannot be reached ({error}): see --database") from error

    def run(self, unit: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a unit of work and return its result."""

        async def work() -> T:
            return await unit(self.connection)

        return self._runner.run(work())

    def value(self, statement: str, *arguments: object) -> Any:
        """Return the first value of the first row."""
        return self.run(lambda connection: connection.fetchval(statement, *arguments))

    def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Return the rows."""
        return self.run(lambda connection: connection.fetch(statement, *arguments))

    def execute(self, statement: str, *arguments: object) -> None:
        """Run a statement, or without arguments several."""
        self.run(lambda connection: connection.execute(statement, *arguments))

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self.connection.close())
        self._runner.close()


@contextmanager
def connected(url: str) -> Iterator[Sql]:
    """Give a connection for the block."""
    sql = Sql(url)
    try:
        yield sql
    finally:
        sql.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A server on which databases can be made. `postmaster`: its first process, if it is on this machine."""

    url: str
    version: str
    embedded: bool
    postmaster: int | None

    @property
    def title(self) -> str:
        """What it is, for the report."""
        return f"{self.version} ({'embedded' if self.embedded else 'given'})"

    def cpu(self) -> float | None:
        """Return the processor time of all its processes so far, in seconds; None if they are elsewhere."""
        return None if self.postmaster is None else family_time(self.postmaster)

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Give the URL of a new database, a copy of `template`, and drop it afterwards."""
        name = f"hookd_bench_{uuid4().hex[:12]}"
        with connected(self.url) as sql:
            # Copying files begins and ends with a checkpoint, so that every run begins alike.
            sql.execute(f"create database {name} template {template} strategy file_copy")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            with connected(self.url) as sql:
                sql.execute(f"drop database {name} with (force)")


@contextmanager
def server(directory: Path, url: str = "") -> Iterator[Server]:
    """Give the server at `url`, else the embedded one, in `directory`, with the settings it ships with.

    That one first gets files of its write-ahead log to use again, as a server has that ran for a while: a new
    one makes each of them anew, for which all commits wait up to a tenth of a second.
    """
    if url:
        yield _described(url, is_embedded=False)
        return
    try:
        with embedded(directory) as own:
            with connected(own) as sql:
                for _ in range(WAL_FILES):
                    sql.execute("select pg_logical_emit_message(true, 'hookd', ''), pg_switch_wal()")
                sql.execute("checkpoint")
            yield _described(own, is_embedded=True)
    except EmbeddedError as error:
        raise CannotRun(f"{error}; or name a Postgres with --database") from error


def name_of(database_url: str) -> str:
    """Return the name of the database that a URL leads to."""
    return urlsplit(database_url).path.removeprefix("/")


def _described(url: str, *, is_embedded: bool) -> Server:
    with connected(url) as sql:
        version = str(sql.value("show server_version"))
        local = sql.value("select inet_server_addr() is null")
        postmaster = times(sql.value("select pg_backend_pid()")).parent if local else None
    return Server(url, version, is_embedded, postmaster)
