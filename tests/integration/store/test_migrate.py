import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import pytest

from daemon.store import migrate as migrate_module
from daemon.store.database import Connection
from daemon.store.migrate import (
    MigrationBusy,
    MigrationError,
    PermissionMissing,
    PostgresTooOld,
    Report,
    SchemaChanged,
    SchemaMissing,
    SchemaTooNew,
    check,
    migrate,
)
from daemon.store.statements import Statements, installed_files, load

T = TypeVar("T")
QUERIES = {"queries/migrate.sql": installed_files()["queries/migrate.sql"]}
FIRST = {
    **QUERIES,
    "migrations/0001_first.sql": "create table hookd.t (n int);\ninsert into hookd.t values (1);",
    "functions/f.sql": "create or replace function hookd.f() returns int language sql as 'select 1';",
}
SECOND = {**FIRST, "migrations/0002_second.sql": "alter table hookd.t add column m int;"}


def on(url: str, *work: Callable[[Connection], Coroutine[Any, Any, T]]) -> list[T]:
    """Run each piece of work on a connection of its own, all at once."""

    async def one(unit: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        connection = await asyncpg.connect(url)
        try:
            return await unit(connection)
        finally:
            await connection.close()

    async def all_of_them() -> list[T]:
        return await asyncio.gather(*map(one, work))

    return asyncio.run(all_of_them())


def bring(url: str, files: dict[str, str], schema: str = "hookd") -> Report:
    (report,) = on(url, lambda connection: migrate(connection, Statements(schema, files)))
    return report


def verify(url: str, files: dict[str, str], schema: str = "hookd") -> None:
    on(url, lambda connection: check(connection, Statements(schema, files)))


def value(url: str, statement: str) -> Any:
    (result,) = on(url, lambda connection: connection.fetchval(statement))
    return result


def test_applies_what_is_missing_and_only_that(empty_postgres_url: str) -> None:
    url = empty_postgres_url
    assert bring(url, FIRST) == Report(("0001_first",), True, 1)
    assert bring(url, FIRST) == Report((), False, 1)
    assert bring(url, SECOND) == Report(("0002_second",), False, 2)
    assert value(url, "select n from hookd.t where m is null") == 1
    verify(url, SECOND)


def test_functions_are_renewed_when_they_change(empty_postgres_url: str) -> None:
    bring(empty_postgres_url, FIRST)
    changed = {**FIRST, "functions/f.sql": FIRST["functions/f.sql"].replace("select 1", "select 2")}
    with pytest.raises(SchemaMissing, match="functions of another hookd: run 'hookd migrate'"):
        verify(empty_postgres_url, changed)
    assert bring(empty_postgres_url, changed) == Report((), True, 1)
    assert value(empty_postgres_url, "select hookd.f()") == 2
    verify(empty_postgres_url, changed)


def test_two_schemas_do_not_see_each_other(empty_postgres_url: str) -> None:
    bring(empty_postgres_url, FIRST, "cell_a")
    with pytest.raises(SchemaMissing, match="no schema cell_b"):
        verify(empty_postgres_url, FIRST, "cell_b")
    bring(empty_postgres_url, SECOND, "cell_b")
    verify(empty_postgres_url, FIRST, "cell_a")
    assert value(empty_postgres_url, "select cell_a.f() + cell_b.f()") == 2
    assert value(empty_postgres_url, "select to_regnamespace('hookd')") is None


@pytest.mark.parametrize("schema", ["hookd", "another_cell"])
def test_the_schema_of_this_release_is_complete_under_any_name(empty_postgres_url: str, schema: str) -> None:
    statements = load(schema)
    on(empty_postgres_url, lambda connection: migrate(connection, statements))
    on(empty_postgres_url, lambda connection: check(connection, statements))
    other = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = "
    assert value(empty_postgres_url, other + f"'{schema}'") > 10
    if schema != "hookd":
        assert value(empty_postgres_url, other + "'hookd'") == 0


def test_a_failing_migration_changes_nothing_and_says_where(empty_postgres_url: str) -> None:
    broken = {**FIRST, "migrations/0002_broken.sql": "create table hookd.u ();\n\nselect nonsense;"}
    with pytest.raises(asyncpg.UndefinedColumnError) as caught:
        bring(empty_postgres_url, broken)
    assert caught.value.__notes__ == ["in 0002_broken line 3"]
    assert value(empty_postgres_url, "select to_regnamespace('hookd')") is None


def test_daemons_that_start_together_migrate_once(empty_postgres_url: str) -> None:
    statements = Statements("hookd", SECOND)
    reports = on(empty_postgres_url, *[lambda connection: migrate(connection, statements)] * 4)
    assert sorted(len(report.applied) for report in reports) == [0, 0, 0, 2]
    assert value(empty_postgres_url, "select count(*) from hookd.t") == 1


def test_waiting_for_another_migration_is_bounded(empty_postgres_url: str) -> None:
    statements = Statements("hookd", FIRST)

    async def hold(holder: Connection) -> None:
        async with holder.transaction():
            await holder.execute(statements["create_schema"])
            waiting = await asyncpg.connect(empty_postgres_url)
            with pytest.raises(MigrationBusy, match="another hookd may be migrating"):
                await migrate(waiting, statements, lock_timeout=0.05)
            await waiting.close()

    on(empty_postgres_url, hold)


def test_a_stranger_cannot_hold_up_a_migration(empty_postgres_url: str) -> None:
    bring(empty_postgres_url, FIRST)
    role = f"hookd_test_{uuid4().hex[:12]}"

    async def hold(holder: Connection) -> None:
        await holder.execute(f"create role {role}")
        try:
            await holder.execute(f"grant usage on schema hookd to {role}; set role {role}")
            async with holder.transaction():
                await holder.execute(
                    "select pg_advisory_xact_lock(hashtextextended('hookd migrate hookd', 0))"
                )
                moving = await asyncpg.connect(empty_postgres_url)
                report = await migrate(moving, Statements("hookd", SECOND), lock_timeout=5)
                await moving.close()
            await holder.execute("reset role")
        finally:
            await holder.execute(f"drop owned by {role}; drop role {role}")
        assert report.applied == ("0002_second",)

    on(empty_postgres_url, hold)


def test_newer_schema_is_refused(empty_postgres_url: str) -> None:
    bring(empty_postgres_url, SECOND)
    for attempt in bring, verify:
        with pytest.raises(SchemaTooNew, match=r"is at migration 2, and this hookd knows 1: .* install that"):
            attempt(empty_postgres_url, FIRST)


def test_edited_migration_is_refused(empty_postgres_url: str) -> None:
    bring(empty_postgres_url, FIRST)
    edited = {**FIRST, "migrations/0001_first.sql": "create table hookd.t (n bigint);"}
    for attempt in bring, verify:
        with pytest.raises(SchemaChanged, match=r"migration 0001_first .* put it back and write a new"):
            attempt(empty_postgres_url, edited)


def test_missing_schema_and_migrations_name_the_remedy(empty_postgres_url: str) -> None:
    with pytest.raises(SchemaMissing, match="has no schema hookd: run 'hookd migrate'"):
        verify(empty_postgres_url, FIRST)
    bring(empty_postgres_url, FIRST)
    with pytest.raises(SchemaMissing, match="lacks the migrations 0002_second: run 'hookd migrate'"):
        verify(empty_postgres_url, SECOND)


def test_old_server_is_refused(empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate_module, "OLDEST_SERVER", 1000)
    with pytest.raises(PostgresTooOld, match=r"runs Postgres \d+.*, hookd needs 1000 or later: upgrade it"):
        bring(empty_postgres_url, FIRST)


def test_reserved_word_as_schema_is_refused(empty_postgres_url: str) -> None:
    with pytest.raises(MigrationError, match="user is a word of SQL: set schema in"):
        bring(empty_postgres_url, FIRST, "user")


def test_missing_privileges_name_the_remedy(empty_postgres_url: str) -> None:
    role = f"hookd_test_{uuid4().hex[:12]}"

    async def as_role(connection: Connection) -> None:
        await connection.execute(f"create role {role}")
        try:
            await connection.execute(f"set role {role}")
            with pytest.raises(PermissionMissing, match=f"create schema hookd authorization {role}"):
                await migrate(connection, Statements("hookd", FIRST))
            await connection.execute("reset role")
            await migrate(connection, Statements("hookd", FIRST))
            await connection.execute(f"grant usage on schema hookd to {role}")
            await connection.execute(f"grant select on hookd.migration to {role}; set role {role}")
            await check(connection, Statements("hookd", FIRST))
            with pytest.raises(PermissionMissing, match="owns the schema hookd run 'hookd migrate'"):
                await migrate(connection, Statements("hookd", SECOND))
            await connection.execute("reset role")
        finally:
            await connection.execute(f"drop owned by {role}; drop role {role}")

    on(empty_postgres_url, as_role)
