"""What is in the way of events: locks of others, a read-only database, too few connections."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import trio

from daemon.clock import Clock as DatabaseClock
from daemon.process import standstill
from daemon.process.readiness import Readiness
from daemon.progress import PATIENCE, Way
from daemon.store import blocking
from daemon.store.blocking import look_for_block
from daemon.store.database import Connection, Database
from tests.support.daemon import refused, running
from tests.support.postgres import Session, with_database
from tests.support.publishing import rows
from tests.support.receiver import receiving

Connect = Callable[..., Awaitable[Session]]


class Clock:
    """Trio's, and as much later as a test says."""

    later = 0.0

    def __call__(self) -> float:
        return trio.current_time() + self.later


async def lock_hosts(connection: Connection) -> None:
    await connection.execute("begin; lock table hookd.host in row exclusive mode; commit")


async def seen_of(database: Database, backend: int) -> str:
    """Return what the server process waits for, once it does."""
    with trio.fail_after(20):
        while (seen := await look_for_block(database, [backend])) is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
    return seen


async def test_who_holds_the_lock_is_found_behind_those_who_wait_for_it(
    database: Database, connect: Connect
) -> None:
    holder, other = await connect("the holder"), await connect()
    await holder.begin()
    await holder.execute("lock table hookd.host in access exclusive mode")
    async with database.own_connection() as own, trio.open_nursery() as nursery:
        (backend,) = own.backends()
        assert await look_for_block(database, [backend]) is None
        nursery.start_soon(other.execute, "begin; lock table hookd.host in share mode; commit")
        await other.wait_blocked(by=holder)
        nursery.start_soon(own.run, lock_hosts)
        seen = await seen_of(database, backend)
        assert f"waits for a lock on hookd.host that process {holder.pid} of Postgres holds" in seen
        assert "application the holder, idle in transaction, in a transaction for" in seen
        await holder.rollback()


async def test_a_row_that_is_locked_is_told_with_its_table(database: Database, connect: Connect) -> None:
    holder = await connect()
    await holder.begin()
    await holder.execute("update hookd.publishing set max_depth = max_depth")

    async def update(connection: Connection) -> None:
        await connection.execute("update hookd.publishing set max_depth = max_depth")

    async with database.own_connection() as own, trio.open_nursery() as nursery:
        nursery.start_soon(own.run, update)
        seen = await seen_of(database, own.backends()[0])
        assert f"a lock on hookd.publishing that process {holder.pid} of Postgres holds" in seen
        await holder.rollback()


async def test_a_pool_that_is_used_up_is_passed_by(
    database: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "TIMEOUT", 0.2)
    holder = await connect()
    await holder.begin()
    await holder.execute("lock table hookd.host in access exclusive mode")
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(database.run, lock_hosts)
        with trio.fail_after(20):
            while len(database.backends()) < 10:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert f"process {holder.pid} of Postgres" in await seen_of(database, database.backends()[0])
        await holder.rollback()


async def test_a_standstill_is_logged_and_shows_in_readiness_until_it_is_over(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "PERIOD", 0.01)
    clock = Clock()
    way = Way(clock)
    readiness = Readiness(database, way, stopping=lambda: False, key_set=None, clock=DatabaseClock())

    async def unready() -> dict[str, str]:
        return {check.name: check.detail for check in await readiness.checks() if not check.ok}

    async def said(text: str) -> None:
        with trio.fail_after(20):
            while text not in caplog.text:  # noqa: ASYNC110
                await trio.sleep(0.01)

    assert set(await unready()) == {part.name for part in way.unproven()} != set()
    for part in way.unproven():
        part.done()
    assert await unready() == {}
    way.routing.failed("Postgres is away")
    assert await unready() == {}
    clock.later += PATIENCE + 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(standstill.serve_standstill, database, way)
        await said("no progress for 6 s in routing: Postgres is away")
        assert await unready() == {"routing": "no progress for 6 s: Postgres is away"}
        way.routing.done()
        await said("progress again in routing, after 6 s")
        assert await unready() == {}
        nursery.cancel_scope.cancel()


async def test_nothing_is_ready_that_cannot_write(tmp_path: Path, postgres_url: str) -> None:
    name, server = urlsplit(postgres_url).path[1:], with_database(postgres_url, "postgres")

    async def switch(setting: str) -> None:
        """Change the database, and end its sessions, so that all have the change."""
        await rows(server, f"alter database {name} {setting}")
        ending = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1"
        await rows(server, ending, name)

    async def until_ready(client: httpx.AsyncClient, database: str, status: int) -> None:
        """Return when /health/ready says that of the database, and answers with the status."""
        seen: object = None
        with trio.fail_after(20):
            while seen != (status, database):
                answer = await client.get("/health/ready")
                details = {check["name"]: check["detail"] for check in answer.json()["checks"]}
                seen = answer.status_code, details["database"]

    event = {"type": "match.proposed", "data": {}}
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url) as daemon:
        await daemon.register(org, receiver.url())
        async with daemon.client(org, "publisher") as client:
            await switch("set default_transaction_read_only = on")
            await until_ready(client, "the database is read-only: default_transaction_read_only is on", 503)
            answer = await client.post("/events", json=event)
            assert answer.status_code == 503
            assert "read-only" in answer.json()["detail"]
            shown = (await client.get("/metrics")).text
            assert "hookd_database_up 1.0" in shown
            assert "hookd_database_writable 0.0" in shown
            assert "hookd_ready 0.0" in shown
            await switch("reset default_transaction_read_only")
            await until_ready(client, "", 200)
            assert (await client.post("/events", json=event)).status_code == 202
        await receiver.until(lambda: len(receiver.requests) == 1, 20)
        assert "Traceback" not in daemon.log.read_text()


async def test_an_account_with_too_few_connections_is_refused_at_the_start(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    role = f"few_{uuid4().hex[:8]}"
    url = urlsplit(empty_postgres_url)
    await rows(empty_postgres_url, f"create role {role} login connection limit 5")
    try:
        await rows(empty_postgres_url, f"grant create on database {url.path[1:]} to {role}")
        theirs = url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}").geturl()
        status, said = await refused(tmp_path / "d", theirs)
        assert status == 1
        assert "hookd may need 15 connections (pool_size = 10 and 5 for the queue)" in said
        assert f"the account {role} (alter role ... connection limit) allows 5: allow 15" in said
    finally:
        await rows(empty_postgres_url, f"drop owned by {role} cascade")
        await rows(empty_postgres_url, f"drop role {role}")
