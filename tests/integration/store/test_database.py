import asyncio
import gc
import random
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import asyncpg
import pytest
import trio

from daemon.store import database as database_module
from daemon.store.database import (
    Connection,
    Database,
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnavailable,
    RetryTransaction,
    open_database,
    persistently,
)
from daemon.store.statements import UnknownStatement
from tests.support.postgres import Session

Connect = Callable[[], Awaitable[Session]]

BACKENDS = (
    "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'hookd'"
)


async def one(connection: Connection) -> int:
    return int(await connection.fetchval("select 1"))


async def sleep(connection: Connection) -> None:
    await connection.execute("select pg_sleep(60)")


async def until(watcher: Session, condition: str) -> None:
    """Return when the query `condition`, about what another process does, gives something true."""
    with trio.fail_after(10):
        while not await watcher.fetchval(condition):  # noqa: ASYNC110
            await trio.sleep(0.002)


async def test_unit_gets_a_connection_and_its_result_comes_back(database: Database) -> None:
    async def unit(connection: Connection) -> tuple[str, str]:
        name = await connection.fetchval("select current_setting('application_name')")
        return name, await connection.fetchval("select '{\"a\": 1}'::jsonb")

    assert await database.run(unit) == ("hookd", '{"a": 1}')


async def test_statements_are_those_of_the_schema(asyncio_loop: None, postgres_url: str) -> None:
    async with open_database(postgres_url, schema="cell") as database:
        assert "cell.migration" in database.sql("applied_migrations")
        with pytest.raises(UnknownStatement):
            database.sql("no_such_statement")


async def test_an_error_of_the_unit_is_its_own(database: Database) -> None:
    async def broken(connection: Connection) -> None:
        await connection.execute("begin")
        await connection.execute("create table public.t (n int primary key)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(broken)
    with pytest.raises(DatabaseRefused, match="does not exist"):
        await database.run(lambda connection: connection.fetchval("select n from public.t"))


async def test_a_transaction_left_open_is_rolled_back(asyncio_loop: None, postgres_url: str) -> None:
    async with open_database(postgres_url, pool_size=1) as database:
        await database.run(lambda connection: connection.execute("begin; create table public.t (n int)"))
        assert (
            await database.run(lambda connection: connection.fetchval("select to_regclass('public.t')"))
            is None
        )


async def test_an_error_nobody_waits_for_is_logged_and_ends_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def closing() -> None:
        raise ConnectionResetError("while a replaced connection was closed")

    async def unit(connection: Connection) -> None:
        forgotten = asyncio.create_task(closing())
        await asyncio.wait([forgotten])

    await database.run(unit)
    gc.collect()
    assert await database.run(one) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "in the background: Task exception was never retrieved"
    ]


async def test_cancelling_stops_the_statement_on_the_server(database: Database, connect: Connect) -> None:
    watcher = await connect()
    active = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, sleep)
        await until(watcher, active)
        nursery.cancel_scope.cancel()
    assert await watcher.fetchval(active) == 0
    assert await database.run(one) == 1


async def test_cancelling_at_any_moment_leaks_no_connection(
    asyncio_loop: None, postgres_url: str, connect: Connect
) -> None:
    async def unit(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("select pg_sleep(0.002)")

    dice = random.Random(7)
    async with open_database(postgres_url, pool_size=3) as database:

        async def cancelled(after: float) -> None:
            with trio.move_on_after(after):
                await database.run(unit)

        for _ in range(30):
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(cancelled, dice.uniform(0, 0.012))
        # A barrier: all three connections are still there to be had, and no fourth one is open.
        inside = 0
        all_in = asyncio.Event()

        async def meet(connection: Connection) -> None:
            nonlocal inside
            inside += 1
            if inside == 3:
                all_in.set()
            await all_in.wait()
            await connection.fetchval("select 1")

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(database.run, meet)
        assert await (await connect()).fetchval(BACKENDS) == 3


async def test_command_timeout_ends_a_statement(asyncio_loop: None, postgres_url: str) -> None:
    async with open_database(postgres_url, pool_size=1, command_timeout=0.05) as database:
        with trio.fail_after(30), pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await database.run(sleep)
        assert await database.run(one) == 1


async def test_timeout_ends_a_unit_of_many_statements(database: Database) -> None:
    async def endless(connection: Connection) -> None:
        while True:
            await connection.fetchval("select 1")

    with trio.fail_after(30), pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        await database.run(endless, timeout=0.05)
    assert await database.run(one) == 1


async def test_waiting_for_a_connection_is_bounded(
    asyncio_loop: None, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_database(postgres_url, pool_size=1) as database, trio.open_nursery() as nursery:
        taken = trio.Event()

        async def hold(connection: Connection) -> None:
            taken.set()
            await sleep(connection)

        nursery.start_soon(database.run, hold)
        await taken.wait()
        monkeypatch.setattr(database_module, "ACQUIRE_TIMEOUT", 0.05)
        with pytest.raises(DatabaseBusy, match=r"all 1 connections were in use .* raise pool_size"):
            await database.run(one)
        nursery.cancel_scope.cancel()


async def test_ended_backends_cost_at_most_one_failure(database: Database, connect: Connect) -> None:
    watcher = await connect()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(database.run, lambda connection: connection.execute("select pg_sleep(0.1)"))
    assert await watcher.fetchval(BACKENDS) == 5
    await watcher.execute(BACKENDS.replace("count(*)", "pg_terminate_backend(pid)"))
    failures = 0
    for _ in range(10):
        try:
            await database.run(one)
        except DatabaseUnavailable:
            failures += 1
    assert failures <= 1


async def test_a_read_only_server_is_left_for_its_successor(database: Database, connect: Connect) -> None:
    """After a failover the old primary still answers, but its connections must not be used again."""
    owner = await connect()
    name = await owner.fetchval("select current_database()")
    await owner.execute("create table public.t (n int)")
    await owner.execute(f"alter database {name} set default_transaction_read_only = on")

    async def write(connection: Connection) -> None:
        await connection.execute("insert into public.t values (1)")

    async with open_database(owner.url) as failed_over:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(
                    failed_over.run, lambda connection: connection.execute("select pg_sleep(0.1)")
                )
        await owner.execute(f"alter database {name} reset default_transaction_read_only")
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await failed_over.run(write)
        for _ in range(3):
            await failed_over.run(write)
    assert await owner.fetchval("select count(*) from public.t") == 3


async def test_deadlock_asks_for_the_unit_again(database: Database, connect: Connect) -> None:
    other = await connect()
    await other.execute(
        "create table public.t (n int primary key, v int); insert into public.t values (1, 0), (2, 0)"
    )
    await other.begin()
    await other.execute("set local deadlock_timeout = '1h'")
    await other.execute("update public.t set v = 1 where n = 2")

    async def unit(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("set local deadlock_timeout = '10ms'")
            await connection.execute("update public.t set v = 2 where n = 1")
            first_locked.set()
            await blocked.wait()
            await connection.execute("update public.t set v = 2 where n = 2")

    first_locked, blocked = trio.Event(), asyncio.Event()
    async with trio.open_nursery() as nursery:

        async def fails() -> None:
            with pytest.raises(RetryTransaction, match="deadlock"):
                await database.run(unit)

        nursery.start_soon(fails)
        await first_locked.wait()
        nursery.start_soon(other.execute, "update public.t set v = 1 where n = 1")
        await other.wait_blocked()
        blocked.set()
    await other.commit()


async def test_a_changed_table_under_a_prepared_statement_asks_for_the_unit_again(
    asyncio_loop: None, postgres_url: str, connect: Connect
) -> None:
    owner = await connect()
    await owner.execute("create table public.t (n int); insert into public.t values (1)")

    async def unit(connection: Connection) -> int:
        async with connection.transaction():
            return len(await connection.fetch("select * from public.t"))

    async with open_database(postgres_url, pool_size=1) as database:
        assert await database.run(unit) == 1
        await owner.execute("alter table public.t add column m int")
        with pytest.raises(RetryTransaction):
            await database.run(unit)
        assert await persistently(database, unit, on_unavailable=print) == 1


async def test_persistently_repeats_lost_races_and_passes_other_errors_on(database: Database) -> None:
    tries = 0

    async def unit(connection: Connection) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise asyncpg.SerializationError("could not serialize access")
        return tries

    async def broken(connection: Connection) -> None:
        raise ZeroDivisionError

    assert await persistently(database, unit, on_unavailable=print) == 3
    with pytest.raises(ZeroDivisionError):
        await persistently(database, broken, on_unavailable=print)


async def test_closing_does_not_wait_for_ever(
    asyncio_loop: None, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_TIMEOUT", 0.1)
    async with trio.open_nursery() as nursery:
        async with open_database(postgres_url) as database:
            taken = trio.Event()

            async def hold(connection: Connection) -> None:
                taken.set()
                await sleep(connection)

            async def unavailable() -> None:
                with pytest.raises(DatabaseUnavailable):
                    await database.run(hold)

            nursery.start_soon(unavailable)
            await taken.wait()
        with pytest.raises(DatabaseUnavailable):
            await database.run(one)


async def test_what_a_caller_has_in_its_context_is_not_kept_by_timers(database: Database) -> None:
    class Request:
        """Stands for what a web framework keeps in the context."""

    current: ContextVar[Request | None] = ContextVar("current", default=None)
    request = Request()
    kept = weakref.ref(request)
    token = current.set(request)
    assert await database.run(lambda connection: connection.fetchval("select 1")) == 1
    current.reset(token)
    del request, token
    gc.collect()
    assert kept() is None
