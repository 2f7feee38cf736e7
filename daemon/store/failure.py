"""What an error of asyncpg means to the daemon: Postgres is away, the transaction lost a race, or a bug."""

import asyncpg
from asyncpg.exceptions import OutdatedSchemaCacheError, TargetServerAttributeNotMatched

from daemon.explained_error import ExplainedError


class DatabaseUnavailable(ExplainedError):
    """Postgres cannot be reached, went away, or cannot serve now. What was under way may have been committed.

    `reconnect` tells that connections opened earlier may be dead or lead to the wrong server.
    """

    reconnect = True


class DatabaseReadOnly(DatabaseUnavailable):
    """Postgres answers and takes no writes: it is a standby, or was told so."""


class DatabaseBusy(DatabaseUnavailable):
    """Postgres or the pool has no room now: connections, memory or disk are used up."""

    reconnect = False


class DatabaseRefused(DatabaseUnavailable):
    """Postgres answers and lets this account or database not in: trying again helps only after a change."""


class RetryTransaction(Exception):
    """The transaction was rolled back, because of another or of a changed schema: run the unit again."""


# SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
AWAY = {
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now: starting, stopping or recovering
    "57P05",  # idle_session_timeout
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
}
READ_ONLY = "25006"
"""read_only_sql_transaction: after a failover this is the old primary."""
REFUSED = {"28000", "28P01", "3D000", "42501"}
LOST_STATEMENT = {
    "26000",  # invalid_sql_statement_name
    "42P05",  # duplicate_prepared_statement
}
ROBBED = {
    "3F000",  # invalid_schema_name
    "42P01",  # undefined_table
    "42501",  # insufficient_privilege
}
"""Somebody has dropped what hookd needs, or taken a right from its account."""
LOST_RACE = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: lock_timeout passed
    "57014",  # query_canceled: statement_timeout passed, or an administrator's pg_cancel_backend
}


IS_READ_ONLY = "the database is read-only: it is a standby, or default_transaction_read_only is on"
STANDBY = "the database is read-only: it is a standby"
READ_ONLY_SETTING = "the database is read-only: default_transaction_read_only is on"
LOSES_STATEMENTS = (
    "a pooler between hookd and Postgres does not keep prepared statements from one transaction to the next:"
    " set prepared_statements = false in [database] of config.toml, or use PgBouncer 1.21 or later with"
    " max_prepared_statements"
)


def translate(error: Exception, *, connected: bool, closed: bool = False) -> Exception | None:
    """Return what to raise for `error`, or None if it is neither a failure of the server nor a lost race.

    `connected` tells that there was a connection, and `closed` that it (or else the pool) is closed by now.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _translate_code(error, error.sqlstate or "", connected)
    if isinstance(error, OutdatedSchemaCacheError):
        return RetryTransaction(str(error))
    if isinstance(error, TimeoutError):
        return DatabaseUnavailable("Postgres did not answer in time")
    if isinstance(error, TargetServerAttributeNotMatched):
        return DatabaseReadOnly(f"{IS_READ_ONLY} on each of its hosts")
    if isinstance(error, OSError):
        return DatabaseUnavailable(f"Postgres cannot be reached ({_describe(error)})")
    if not connected and isinstance(error, ValueError):
        # Bad URLs; the text would quote parts of one, perhaps its password.
        return DatabaseRefused("the database's URL is not valid: correct url in [database] of config.toml")
    if closed and isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return DatabaseUnavailable(_describe(error))
    return None


def _translate_code(error: asyncpg.PostgresError, code: str, connected: bool) -> Exception | None:
    if code in LOST_RACE or isinstance(error, asyncpg.InvalidCachedStatementError):
        return RetryTransaction(_describe(error))
    if code[:2] == "53":
        return DatabaseBusy(_describe(error))
    if code[:2] in ("08", "58") or code in AWAY:
        return DatabaseUnavailable(_describe(error))
    if code == READ_ONLY:
        return DatabaseReadOnly(f"{IS_READ_ONLY} ({_describe(error)})")
    if code in LOST_STATEMENT:
        return DatabaseRefused(LOSES_STATEMENTS)
    if code in REFUSED and not connected:
        return DatabaseRefused(_describe(error))
    if code in ROBBED:
        return DatabaseRefused(
            f"{_describe(error)}: restore what was dropped or revoked, or run 'hookd migrate'"
        )
    return None


def _describe(error: Exception) -> str:
    return f"{str(error) or type(error).__name__}"
