"""Publishing in transactions of two phases, which must not have notified anybody."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from daemon.store.database import open_database
from daemon.store.embedded import embedded
from daemon.store.poll import poll
from tests.support.postgres import (
    FAST,
    Session,
    connect_session,
    fresh_database,
    migrated_template,
    reachable_directory,
)
from tests.support.queue_lab import advance, prepare, publish, register, route_all


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server that lets transactions be prepared."""
    with (
        reachable_directory() as directory,
        embedded(directory, {**FAST, "max_prepared_transactions": "5"}) as url,
    ):
        yield url


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """The URL of a database on it for this test."""
    with fresh_database(server, migrated_template(server)) as fresh:
        yield fresh


@pytest.fixture
async def session(asyncio_loop: None, url: str) -> AsyncIterator[Session]:
    """A session on it, with the queue's clock in hand."""
    async with connect_session(url) as opened:
        await prepare(opened)
        yield opened


async def test_what_was_prepared_long_before_is_routed_once_it_is_committed(session: Session) -> None:
    org = uuid4()
    await register(session, org)
    await session.begin()
    first = await publish(session, org)
    [both] = await session.fetch(
        "select hookd.publish_batch($1, array['t', 't'], array['1', '2']::jsonb[], array['a', 'b'])", org
    )
    await session.execute("prepare transaction 'business'")
    for _ in range(3):  # others go by, and floors move up
        await publish(session, org)
        await advance(session, 1)
        await route_all(session)
    owed = "select event_id from hookd.delivery"
    assert len(await session.fetch(owed)) == 3
    await session.execute("commit prepared 'business'")
    await advance(session, 1)
    await route_all(session)
    assert {row[0] for row in await session.fetch(owed)} >= {first, *both[0]}
    assert await session.fetchval("select count(*) from hookd.inbox") == 0


async def test_a_key_waits_for_the_prepared_transaction_that_used_it(session: Session) -> None:
    org = uuid4()
    await session.begin()
    first = await publish(session, org, key="k")
    await session.execute("prepare transaction 'keyed'")
    await session.execute("commit prepared 'keyed'")
    assert await publish(session, org, key="k") == first


async def test_the_poll_tells_that_publishers_wake_nobody(session: Session, url: str) -> None:
    async with open_database(url) as database:
        assert (await poll(database)).unhinted


async def test_elsewhere_publishers_wake_who_is_at_rest(postgres_url: str, asyncio_loop: None) -> None:
    async with open_database(postgres_url) as database:
        assert not (await poll(database)).unhinted
