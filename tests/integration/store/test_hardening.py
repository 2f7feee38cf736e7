"""Ways in, and ways to bring the daemon down, that were found and closed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import trio

from daemon.store.database import Database, open_database
from daemon.store.retention import retain
from tests.integration.store.test_retention import WEEK, prepare
from tests.support.daemon import Daemon
from tests.support.postgres import Session, administer, with_database

Connect = Callable[[], Awaitable[Session]]
ORG = "018f6d1e-6a00-7000-8000-000000000001"


async def test_functions_that_run_as_their_owner_use_nothing_temporary(connect: Connect) -> None:
    session = await connect()
    rows = await session.fetch(
        "select proname, proconfig::text from pg_proc"
        " where prosecdef and pronamespace = 'hookd'::regnamespace"
    )
    assert {row[0] for row in rows} == {"publish", "publish_batch"}
    assert all("search_path=pg_catalog, pg_temp" in row[1] for row in rows)


async def test_a_temporary_domain_is_not_run_with_the_owners_rights(connect: Connect) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    await session.execute(
        """
        create function pg_temp.evil() returns boolean language plpgsql as
            'begin raise exception $a$run with other rights$a$; end';
        create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.evil());
        """
    )
    assert await session.fetchval(f"select hookd.publish('{ORG}'::pg_catalog.uuid, 'match.proposed', '{{}}')")


async def test_numbers_whose_text_is_far_longer_than_they_are_count_in_full(connect: Connect) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="more than the 1048576 allowed"):
        await session.fetchval(
            "select hookd.publish($1, 'match.proposed', (select jsonb_agg(round(1e131071::numeric, 16383))"
            " from generate_series(1, 20)))",
            uuid4(),
        )


async def test_two_daemons_may_clear_up_at_once(
    postgres_url: str, database: Database, connect: Connect
) -> None:
    await prepare(await connect(), 6)
    dropped: list[str] = []

    async def clear(one: Database) -> None:
        dropped.extend(await retain(one, {"event": 3 * WEEK, "attempt": 3 * WEEK}, now=datetime.now(UTC)))

    async with open_database(postgres_url) as other, trio.open_nursery() as nursery:
        nursery.start_soon(clear, database)
        nursery.start_soon(clear, other)
    assert dropped
    assert len(dropped) == len(set(dropped))


async def test_a_database_in_another_encoding_is_refused(tmp_path: Path, postgres_server: str) -> None:
    name = f"hookd_latin1_{uuid4().hex[:8]}"
    make = f"create database {name} template template0 encoding latin1 locale_provider libc locale 'C'"
    await trio.to_thread.run_sync(administer, postgres_server, make)
    try:
        daemon = Daemon(tmp_path / "d", with_database(postgres_server, name), {})
        with pytest.raises(AssertionError, match="did not become ready"):
            await daemon.start()
        assert await daemon.ended(10) == 1
        assert "encoded in LATIN1" in daemon.log.read_text()
    finally:
        await trio.to_thread.run_sync(administer, postgres_server, f"drop database {name} with (force)")
