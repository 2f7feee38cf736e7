"""Fixtures that give tests a Postgres."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio_asyncio

from daemon.store.database import Database, open_database
from tests.support.daemon import end_what_was_left
from tests.support.postgres import (
    Session,
    connect_session,
    fresh_database,
    migrated_template,
    quick_place,
    server,
)

SERVER_DIRECTORY = "HOOKD_TEST_DIRECTORY"


def pytest_configure(config: pytest.Config) -> None:
    """Make the directory of the run's server; workers inherit its name.

    It is not below pytest's own directories: those are closed to the account that runs the server for root.
    """
    if not hasattr(config, "workerinput"):
        directory = Path(tempfile.mkdtemp(prefix="hookd-test-", dir=quick_place()))
        directory.chmod(0o755)
        os.environ[SERVER_DIRECTORY] = str(directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the directory of the run's server, after the last worker has stopped it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SERVER_DIRECTORY))


@pytest.fixture(autouse=True)
def no_daemon_outlives_its_test() -> Iterator[None]:
    """End those that a test leaves behind: they would look for their database for ever."""
    yield
    end_what_was_left()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the run's server, with the right to create databases."""
    with server(Path(os.environ[SERVER_DIRECTORY])) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a migrated database that `postgres_url` copies."""
    return migrated_template(postgres_server)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database for this test."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a database for this test that has the schema `hookd`."""
    with fresh_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture
async def asyncio_loop() -> AsyncIterator[None]:
    """An asyncio loop within Trio, as the process has it outermost."""
    async with trio_asyncio.open_loop():
        yield


@pytest.fixture
async def database(asyncio_loop: None, postgres_url: str) -> AsyncIterator[Database]:
    """A `Database` with the schema `hookd`, to which `connect` leads as well."""
    async with open_database(postgres_url) as opened:
        yield opened


@pytest.fixture
async def connect(asyncio_loop: None, postgres_url: str) -> AsyncIterator[Callable[[], Awaitable[Session]]]:
    """A function that opens one more session on the test's database: `session = await connect()`."""
    async with AsyncExitStack() as stack:

        async def one_more(application_name: str = "hookd-test") -> Session:
            return await stack.enter_async_context(connect_session(postgres_url, application_name))

        yield one_more
