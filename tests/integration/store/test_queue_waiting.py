"""What waits stays as it is, and nothing of ours waits inside a transaction."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.daemon import running
from tests.support.postgres import Session
from tests.support.publishing import publish_many, rows
from tests.support.queue_lab import (
    advance,
    claim,
    load_naive,
    prepare,
    prove,
    publish_ready,
    register,
    route_all,
)
from tests.support.receiver import hang, receiving

Connect = Callable[[], Awaitable[Session]]
UNTOUCHED = "select count(*) from hookd.delivery where xmin = $1::text::xid and lease is null"


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def rewritten_while_throttled(session: Session) -> int:
    """Let 50 deliveries wait for a slow host's tokens; return how many of those that wait were rewritten."""
    org = uuid4()
    await register(session, org, rate=0.1, burst=1.0)
    await prove(session)
    await publish_ready(session, org, 50)
    await route_all(session)
    made = await session.fetchval("select min(xmin::text::bigint) from hookd.delivery")
    for _ in range(20):
        await advance(session, 1)
        await claim(session)
    waiting = await session.fetchval("select count(*) from hookd.delivery where lease is null")
    assert 40 <= waiting < 50
    return int(waiting - await session.fetchval(UNTOUCHED, str(made)))


async def test_what_is_throttled_is_not_written_again(session: Session) -> None:
    assert await rewritten_while_throttled(session) == 0


async def test_naive_putting_off_writes_every_waiting_row(session: Session) -> None:
    await load_naive(session, "throttled_goes_to_later")
    assert await rewritten_while_throttled(session) >= 40


async def test_no_transaction_is_open_while_receivers_hang(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving(hang, ports=10) as receiver,
        running(tmp_path, postgres_url, delivery__timeout="30s") as daemon,
    ):
        for port in range(10):
            await daemon.register(org, receiver.url("/", port=port))
        await publish_many(postgres_url, org, 3)
        await receiver.until(lambda: len(receiver.requests) >= 10, 20)
        held = await rows(
            postgres_url,
            "select state, query from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_type = 'client backend'"
            " and (state like 'idle in transaction%' or xact_start < now() - interval '1 second')",
        )
        assert held == []
