"""Bring the schema of a database to what this code needs, and check that it is there.

Everything happens in one transaction under the lock of the list of migrations: all that is missing is
applied or nothing is, the functions always fit the tables, and of two daemons that start together one waits
and then finds nothing to do. The functions are applied again whenever a file of theirs changed; a migration
drops what no file defines any more.

The functions here are asyncio's: run them as units of `Database.run`, or on a connection of your own.
"""

from dataclasses import dataclass

import asyncpg

from daemon.explained_error import ExplainedError
from daemon.store.database import Connection
from daemon.store.filter_checks import FilterProblems, check_filters
from daemon.store.sessions import SETTINGS
from daemon.store.statements import Statements

OLDEST_SERVER = 15
LOCK_TIMEOUT = 60.0
MIGRATION_TIMEOUT = 3600.0
MIGRATION_SETTINGS = {"transaction_timeout": "0", "check_function_bodies": "on"}
"""Beside those of every session, which whoever calls may not have."""
FUNCTIONS = 0
"""The row of `hookd.migration` that holds the checksum of the functions."""


class MigrationError(ExplainedError):
    """The schema is not, and cannot be brought to, what this code needs; the text says what to do."""


class PostgresTooOld(MigrationError):
    """The server is older than `OLDEST_SERVER`."""


class SchemaMissing(MigrationError):
    """The schema, or a migration of it, is missing."""


class SchemaTooNew(MigrationError):
    """A newer hookd has migrated this schema."""


class SchemaChanged(MigrationError):
    """An applied migration is not the one in this code."""


class PermissionMissing(MigrationError):
    """The database account may not do what a migration needs."""


class MigrationBusy(MigrationError):
    """Another session held a lock for too long; trying again is sensible."""


class _CreatedMeanwhile(Exception):
    """Another session created the schema while this one was about to."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `migrate` did: the migrations it applied, whether it renewed the functions, the last number."""

    applied: tuple[str, ...]
    functions_renewed: bool
    version: int


async def upgrade(connection: Connection, statements: Statements) -> tuple[Report, FilterProblems]:
    """Migrate, and in the same transaction check the filters that nobody has checked. Errors as `migrate`."""
    async with connection.transaction(isolation="read_committed"):
        report = await migrate(connection, statements)
        return report, await check_filters(connection, statements)


async def migrate(
    connection: Connection, statements: Statements, *, lock_timeout: float = LOCK_TIMEOUT
) -> Report:
    """Apply what is missing and return what was done. Waits up to `lock_timeout` seconds for each lock.

    Give `Database.run` a timeout that suits the largest table. Errors: `MigrationError` and what asyncpg
    raises.
    """
    await _check_server(connection, statements)
    try:
        try:
            return await _in_transaction(connection, statements, lock_timeout)
        except _CreatedMeanwhile:
            return await _in_transaction(connection, statements, lock_timeout)
    except asyncpg.InsufficientPrivilegeError as error:
        raise await _permission_missing(connection, statements, error) from error
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise MigrationBusy(
            f"another session held a lock that migrating the schema {statements.schema} needs ({error}):"
            " another hookd may be migrating, or a long transaction is open (see pg_stat_activity);"
            " try again when it has ended"
        ) from error


async def check(connection: Connection, statements: Statements) -> None:
    """Verify that the schema is what this code needs, changing nothing. Errors: `MigrationError`."""
    await _check_server(connection, statements)
    state = await _state(connection, statements)
    if not state["has_migrations"]:
        raise SchemaMissing(
            f"the database {state['database']} has no schema {statements.schema}: run 'hookd migrate'"
        )
    applied = await _applied(connection, statements)
    _compare(applied, statements)
    missing = [str(one) for one in statements.migrations if one.number not in applied]
    if missing:
        raise SchemaMissing(
            f"the schema {statements.schema} lacks the migrations {', '.join(missing)}: run 'hookd migrate'"
        )
    if applied.get(FUNCTIONS) != statements.functions_checksum:
        raise SchemaMissing(
            f"the schema {statements.schema} has the functions of another hookd: run 'hookd migrate'"
        )


async def _in_transaction(connection: Connection, statements: Statements, lock_timeout: float) -> Report:
    settings = {**SETTINGS, **MIGRATION_SETTINGS, "lock_timeout": f"{lock_timeout * 1000:.0f}ms"}
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(statements["migration_settings"], list(settings), list(settings.values()))
        state = await _state(connection, statements)
        if not state["has_migrations"]:
            await _create(connection, statements, has_schema=state["has_schema"])
        await connection.execute(statements["migration_lock"], timeout=lock_timeout + 5)
        return await _apply(connection, statements)


async def _create(connection: Connection, statements: Statements, *, has_schema: bool) -> None:
    """Create the schema and its list of migrations. Another session that is at it is waited for."""
    try:
        if not has_schema:
            await connection.execute(statements["create_schema"])
        await connection.execute(statements["create_migration_table"])
    except (asyncpg.DuplicateSchemaError, asyncpg.DuplicateTableError, asyncpg.UniqueViolationError) as error:
        raise _CreatedMeanwhile from error


async def _apply(connection: Connection, statements: Statements) -> Report:
    applied = await _applied(connection, statements)
    _compare(applied, statements)
    done: list[str] = []
    for migration in statements.migrations:
        if migration.number not in applied:
            await _execute(connection, str(migration), migration.sql)
            await connection.execute(
                statements["record_migration"], migration.number, migration.name, migration.checksum
            )
            done.append(str(migration))
    renewed = applied.get(FUNCTIONS) != statements.functions_checksum
    if renewed:
        for name, sql in statements.functions:
            await _execute(connection, name, sql)
        await connection.execute(
            statements["record_migration"], FUNCTIONS, "functions", statements.functions_checksum
        )
    return Report(tuple(done), renewed, len(statements.migrations))


async def _execute(connection: Connection, name: str, sql: str) -> None:
    """Run one file. An error says which file it was, and where in it."""
    try:
        await connection.execute(sql, timeout=MIGRATION_TIMEOUT)
    except asyncpg.PostgresError as error:
        position = getattr(error, "position", None)
        line = f" line {sql.count(chr(10), 0, int(position)) + 1}" if position else ""
        error.add_note(f"in {name}{line}")
        raise


async def _applied(connection: Connection, statements: Statements) -> dict[int, str]:
    rows = await connection.fetch(statements["applied_migrations"])
    return {row["number"]: row["checksum"] for row in rows}


def _compare(applied: dict[int, str], statements: Statements) -> None:
    """Refuse a schema that this code's migrations do not lead to."""
    newest = max(applied, default=0)
    if newest > len(statements.migrations):
        raise SchemaTooNew(
            f"the schema {statements.schema} is at migration {newest}, and this hookd knows"
            f" {len(statements.migrations)}: a newer hookd migrated it; install that version or a later one"
        )
    for migration in statements.migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaChanged(
                f"migration {migration} was applied to the schema {statements.schema} with another content"
                " than it has here: install the release that applied it, or, if the file was edited, put it"
                " back and write a new migration"
            )


async def _check_server(connection: Connection, statements: Statements) -> None:
    (row,) = await connection.fetch(statements["server_version"])
    if row["number"] < OLDEST_SERVER * 10_000:
        raise PostgresTooOld(
            f"the server runs Postgres {row['text']}, hookd needs {OLDEST_SERVER} or later: upgrade it"
            ' or set url = "" in [database] of config.toml to use the embedded one'
        )
    state = await _state(connection, statements)
    if state["reserved"]:
        raise MigrationError(
            f"{statements.schema} is a word of SQL: set schema in [database] of config.toml to another name"
        )


async def _state(connection: Connection, statements: Statements) -> asyncpg.Record:
    (row,) = await connection.fetch(statements["schema_state"], statements.schema)
    return row


async def _permission_missing(
    connection: Connection, statements: Statements, error: asyncpg.InsufficientPrivilegeError
) -> PermissionMissing:
    state = await _state(connection, statements)
    account, database, schema = state["account"], state["database"], statements.schema
    remedy = (
        f"let the account that owns the schema {schema} run 'hookd migrate'"
        if state["has_schema"]
        else f"run 'create schema {schema} authorization {account}' as the owner of the database,"
        f" or 'grant create on database {database} to {account}'"
    )
    return PermissionMissing(f"the account {account} may not migrate the schema {schema} ({error}): {remedy}")
