import os
import signal
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_asyncio

from daemon.store import database as database_module
from daemon.store.database import (
    Connection,
    Database,
    DatabaseRefused,
    DatabaseUnavailable,
    open_database,
    persistently,
)
from daemon.store.embedded import Embedded
from tests.support.postgres import FAST, reachable_directory, with_database


@pytest.fixture
def directory() -> Iterator[Path]:
    """The state directory of a server that the test may stop."""
    with reachable_directory() as path:
        yield path


async def one(connection: Connection) -> int:
    return int(await connection.fetchval("select 1"))


async def warm(database: Database, connections: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(database.run, lambda connection: connection.execute("select pg_sleep(0.05)"))


async def test_pool_survives_a_restart_with_at_most_one_failure(directory: Path, asyncio_loop: None) -> None:
    server = Embedded(directory, FAST)
    async with open_database(server.url) as database:
        await warm(database, 5)
        await trio.to_thread.run_sync(server.close)
        server = Embedded(directory, FAST)
        failures = 0
        for _ in range(10):
            try:
                await database.run(one)
            except DatabaseUnavailable:
                failures += 1
        assert failures <= 1
    server.close()


async def test_persistently_waits_for_the_server_to_come_back(directory: Path, asyncio_loop: None) -> None:
    server = Embedded(directory, FAST)
    async with open_database(server.url) as database:
        await warm(database, 3)
        await trio.to_thread.run_sync(server.close)
        heard: list[DatabaseUnavailable] = []
        enough = trio.Event()
        results: list[int] = []

        def on_unavailable(error: DatabaseUnavailable) -> None:
            heard.append(error)
            if len(heard) == 3:
                enough.set()

        async def claim() -> None:
            results.append(await persistently(database, one, on_unavailable=on_unavailable))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim)
            with trio.fail_after(20):
                await enough.wait()
            server = await trio.to_thread.run_sync(partial(Embedded, directory, FAST))
        assert results == [1]
    server.close()


async def test_persistently_ends_when_cancelled(directory: Path, asyncio_loop: None) -> None:
    server = Embedded(directory, FAST)
    async with open_database(server.url) as database:
        await trio.to_thread.run_sync(server.close)
        with trio.move_on_after(0.3) as scope:
            await persistently(database, one, on_unavailable=print)
        assert scope.cancelled_caught


async def test_a_frozen_backend_delays_nobody_for_long(
    directory: Path, asyncio_loop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process stands for a network that swallows packets: no reset, and no answer to anything."""
    monkeypatch.setattr(database_module, "RELEASE_TIMEOUT", 0.1)
    server = Embedded(directory, FAST)
    async with open_database(server.url, pool_size=1) as database:
        backend = await database.run(lambda connection: connection.fetchval("select pg_backend_pid()"))
        os.kill(backend, signal.SIGSTOP)
        try:
            with trio.fail_after(30), pytest.raises(DatabaseUnavailable, match="did not answer in time"):
                await database.run(one, timeout=0.1)
            with trio.fail_after(30):
                assert await database.run(one) == 1
            again = await database.run(lambda connection: connection.fetchval("select pg_backend_pid()"))
            assert again != backend
            os.kill(again, signal.SIGSTOP)
            with trio.fail_after(30), trio.move_on_after(0.1) as scope:
                await database.run(one)
            assert scope.cancelled_caught
            os.kill(again, signal.SIGCONT)
        finally:
            os.kill(backend, signal.SIGCONT)
    server.close()


async def test_opening_waits_for_a_server_that_is_late(directory: Path, asyncio_loop: None) -> None:
    server = Embedded(directory, FAST)
    url = server.url
    server.close()
    async with trio.open_nursery() as nursery:
        started: list[Embedded] = []

        async def start_late() -> None:
            await trio.sleep(0.2)
            started.append(await trio.to_thread.run_sync(partial(Embedded, directory, FAST)))

        nursery.start_soon(start_late)
        async with open_database(url, connect_timeout=20) as database:
            assert await database.run(one) == 1
    started[0].close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/main",
        "postgresql://me:hunter2@/main?host=/nonexistent",
    ],
)
async def test_unreachable_server_is_explained_without_the_password(asyncio_loop: None, url: str) -> None:
    with pytest.raises(
        DatabaseUnavailable, match=r"start Postgres, or correct url in \[database\]"
    ) as caught:
        async with open_database(url, connect_timeout=0):
            pass
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "me@" in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://me:hunter2@db/x", "postgresql://me:x@db:hunter2/x", "hunter2"])
async def test_bad_url_is_refused_at_once_without_the_password(asyncio_loop: None, url: str) -> None:
    with trio.fail_after(30), pytest.raises(DatabaseRefused, match="is not valid") as caught:
        async with open_database(url, connect_timeout=60):
            pass
    report = caught.value
    assert report.__cause__ is None
    assert "hunter2" not in str(report.__cause__)


async def test_missing_database_is_refused_at_once(asyncio_loop: None, postgres_server: str) -> None:
    url = with_database(postgres_server, "no_such_database")
    with trio.fail_after(30), pytest.raises(DatabaseRefused, match="no_such_database"):
        async with open_database(url, connect_timeout=60):
            pass


def test_trio_process_shape(postgres_server: str) -> None:
    """The order of the process tree: Trio, then the asyncio loop, then the database, then nurseries."""

    async def main() -> int:
        async with trio_asyncio.open_loop(), open_database(postgres_server) as database:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.run, one)
            return await database.run(one)

    assert trio.run(main) == 1
