import asyncpg
import pytest
from asyncpg import exceptions
from hypothesis import given
from hypothesis import strategies as st

from daemon.store.database import BACKOFF, address_of, pause
from daemon.store.failure import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseRefused,
    DatabaseUnavailable,
    RetryTransaction,
    translate,
)


@pytest.mark.parametrize(
    "error, kind",
    [
        (ConnectionRefusedError(111, "refused"), DatabaseUnavailable),
        (ConnectionResetError(), DatabaseUnavailable),
        (TimeoutError(), DatabaseUnavailable),
        (asyncpg.AdminShutdownError("x"), DatabaseUnavailable),
        (asyncpg.CrashShutdownError("x"), DatabaseUnavailable),
        (asyncpg.CannotConnectNowError("x"), DatabaseUnavailable),
        (asyncpg.ConnectionDoesNotExistError("x"), DatabaseUnavailable),
        (asyncpg.ProtocolViolationError("no more connections allowed"), DatabaseUnavailable),
        (asyncpg.ReadOnlySQLTransactionError("x"), DatabaseReadOnly),
        (exceptions.TargetServerAttributeNotMatched("x"), DatabaseReadOnly),
        (asyncpg.InvalidSQLStatementNameError("x"), DatabaseRefused),
        (asyncpg.DuplicatePreparedStatementError("x"), DatabaseRefused),
        (asyncpg.InvalidSchemaNameError("x"), DatabaseRefused),
        (asyncpg.UndefinedTableError("x"), DatabaseRefused),
        (asyncpg.InsufficientPrivilegeError("x"), DatabaseRefused),
        (asyncpg.PostgresIOError("x"), DatabaseUnavailable),
        (asyncpg.TooManyConnectionsError("x"), DatabaseBusy),
        (asyncpg.DiskFullError("x"), DatabaseBusy),
        (asyncpg.SerializationError("x"), RetryTransaction),
        (asyncpg.DeadlockDetectedError("x"), RetryTransaction),
        (asyncpg.LockNotAvailableError("x"), RetryTransaction),
        (asyncpg.QueryCanceledError("x"), RetryTransaction),
        (asyncpg.InvalidCachedStatementError("x"), RetryTransaction),
        (exceptions.OutdatedSchemaCacheError("x"), RetryTransaction),
        (asyncpg.UniqueViolationError("x"), type(None)),
        (asyncpg.InterfaceError("another operation is in progress"), type(None)),
        (ValueError("a bug of the unit"), type(None)),
        (asyncpg.DataError("a bad argument"), type(None)),
    ],
)
def test_meaning_of_an_error_on_a_connection(error: Exception, kind: type) -> None:
    assert type(translate(error, connected=True)) is kind


@pytest.mark.parametrize(
    "error, kind",
    [
        (asyncpg.InvalidPasswordError("x"), DatabaseRefused),
        (asyncpg.InvalidAuthorizationSpecificationError("x"), DatabaseRefused),
        (asyncpg.InvalidCatalogNameError("x"), DatabaseRefused),
        (asyncpg.InsufficientPrivilegeError("x"), DatabaseRefused),
        (exceptions.ClientConfigurationError("bad URL with hunter2"), DatabaseRefused),
        (ValueError("invalid literal for int(): hunter2"), DatabaseRefused),
        (ConnectionRefusedError(111, "refused"), DatabaseUnavailable),
        (asyncpg.CannotConnectNowError("x"), DatabaseUnavailable),
        (asyncpg.TooManyConnectionsError("x"), DatabaseBusy),
    ],
)
def test_meaning_of_an_error_while_connecting(error: Exception, kind: type) -> None:
    failure = translate(error, connected=False)
    assert type(failure) is kind
    assert "hunter2" not in str(failure)


@pytest.mark.parametrize("error", [asyncpg.InterfaceError("closed"), asyncpg.InternalClientError("state")])
def test_misuse_of_a_closed_connection_is_a_lost_server(error: Exception) -> None:
    assert type(translate(error, connected=True, closed=True)) is DatabaseUnavailable


def test_full_server_is_no_reason_to_reconnect() -> None:
    assert not DatabaseBusy.reconnect
    assert DatabaseUnavailable.reconnect


@given(st.integers(min_value=0, max_value=10_000))
def test_pauses_are_bounded_and_never_none(attempt: int) -> None:
    least, most = BACKOFF
    assert least / 2 <= pause(attempt) <= most


@pytest.mark.parametrize(
    "url, address",
    [
        (
            "postgresql://me:hunter2@db.example:5432/main?sslmode=require&password=hunter2",
            "me@db.example:5432/main",
        ),
        ("postgresql://me:hun%40ter2@a,b:6432/main", "me@a,b:6432/main"),
        ("postgresql://me:hunter@2@db/main", "me@db/main"),
        ("postgresql://hookd@/postgres?host=/run", "hookd@/postgres"),
        ("postgresql://db/main", "db/main"),
        ("postgresql://", "(by PGHOST and its like)"),
        ("postgresql://[hunter2", "(its URL is not valid)"),
    ],
)
def test_address_for_people_has_no_password(url: str, address: str) -> None:
    assert address_of(url) == address
