"""Behind a pooler that gives each transaction another session of Postgres."""

import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import trio

from daemon.store.blocking import look_for_block
from daemon.store.database import Connection, DatabaseRefused, open_database
from daemon.store.events import Events, NewEvent
from daemon.store.notify_listener import NotifyListener
from daemon.store.sessions import SETTINGS
from daemon.store.upkeep import make_partitions
from daemon.uuid7 import uuid7
from tests.support.pooler import pooling
from tests.support.publishing import rows


@pytest.fixture
async def pooled_url(asyncio_loop: None, postgres_url: str) -> AsyncIterator[str]:
    """The URL of a pooler before the test's database, whose sessions have the settings that are needed."""
    name = urlsplit(postgres_url).path[1:]
    for setting in ("search_path", "jit"):
        await rows(postgres_url, f"alter database {name} set {setting} = {SETTINGS[setting]}")
    async with pooling(postgres_url) as url:
        yield url


async def test_lost_settings_are_told_with_the_remedy(asyncio_loop: None, postgres_url: str) -> None:
    async with pooling(postgres_url) as url:
        with pytest.raises(DatabaseRefused, match=r"alter role .* set search_path ="):
            async with open_database(url, prepared_statements=False):
                pass


async def test_lost_prepared_statements_are_told_with_the_remedy(pooled_url: str) -> None:
    with pytest.raises(DatabaseRefused, match=r"set prepared_statements = false in \[database\]"):
        async with open_database(pooled_url):
            pass


async def test_without_prepared_statements_all_works(pooled_url: str) -> None:
    seen: set[int] = set()

    async def unit(connection: Connection) -> None:
        async with connection.transaction():
            backend = await connection.fetchval("select pg_backend_pid()")
            assert await connection.fetchval("select $1::int + 1", backend) == backend + 1
            seen.add(await connection.fetchval("select pg_backend_pid()"))
            assert backend in seen

    async with open_database(pooled_url, prepared_statements=False) as database:
        assert database.sessions.pooled
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(database.run, unit)
        assert await look_for_block(database, []) is None
        org = uuid4()
        await database.run(lambda connection: make_partitions(connection, database))
        event = NewEvent(id=uuid7(time.time()), org_id=org, type="match.proposed", body="{}")
        assert len(await Events(database).publish([event])) == 1
        await NotifyListener(database, lambda: None).serve()  # returns, as none would come


async def test_postgres_itself_is_not_taken_for_a_pooler(asyncio_loop: None, postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        assert database.sessions.direct
        assert not database.sessions.pooled
