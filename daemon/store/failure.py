"""What an error of asyncpg means to the daemon: Postgres is away, the transaction lost a race, or a bug."""

import asyncpg
from asyncpg.exceptions import OutdatedSchemaCacheError, TargetServerAttributeNotMatched


class DatabaseUnavailable(Exception):
    """Postgres cannot be reached, went away, or cannot serve now. What was under way may have been committed.

    `reconnect` tells that connections opened earlier may be dead or lead to the wrong server.
    """

    reconnect = True


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
    "25006",  # read_only_sql_transaction: after a failover this is the old primary
}
REFUSED = {"28000", "28P01", "3D000", "42501"}
LOST_RACE = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: lock_timeout passed
    "57014",  # query_canceled: statement_timeout passed, or an administrator's pg_cancel_backend
}


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
    if isinstance(error, OSError | TargetServerAttributeNotMatched):
        return DatabaseUnavailable(_describe(error))
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
    if code in REFUSED and not connected:
        return DatabaseRefused(_describe(error))
    return None


def _describe(error: Exception) -> str:
    return f"{str(error) or type(error).__name__}"
