"""Postgres for Trio: a pool of asyncpg connections, used in units of work that each cost one hop to asyncio.

A hop through trio-asyncio costs about a quarter of a millisecond, so whatever belongs together is written as
one asyncio function that gets a connection. Taking the connection, the unit and giving the connection back
happen in that same hop: cancelled between two hops, the connection would be lost to the pool for good.
"""

import asyncio
import contextvars
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

import asyncpg
import trio
import trio_asyncio

from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.asyncio_callbacks import callback_queue_of
from daemon.store.failure import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseRefused,
    DatabaseUnavailable,
    RetryTransaction,
    translate,
)
from daemon.store.sessions import CONNECT_TIMEOUT, Sessions
from daemon.store.statements import Statements, load

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Pooled = PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Pool = Pooled = object

__all__ = [
    "Connection",
    "Database",
    "DatabaseBusy",
    "DatabaseReadOnly",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "RetryTransaction",
    "open_database",
    "persistently",
    "warm_up",
]

T = TypeVar("T")
OpenedPool = tuple[Pool, "WeakSet[asyncpg.Connection[asyncpg.Record]]"]
OpenPool = Callable[[int], Awaitable[OpenedPool]]
Unit = Callable[[Connection], Awaitable[T]]

ACQUIRE_TIMEOUT = 10.0
OWN_CONNECTIONS = 5
"""Connections of a daemon beside its pool: two for routing, for claims, for results, and to hear hints."""
OWN_TIMEOUT = 10.0
RELEASE_TIMEOUT = 5.0
CLOSE_TIMEOUT = 5.0
CUT_TIMEOUT = 1.0
WARM_UP_TIMEOUT = 2.0
STATEMENTS_PER_CONNECTION = 500_000
BACKOFF = (0.1, 5.0)
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

logger = logging.getLogger("hookd.store")


class Database:
    """The pool and the statements of one schema. Open it with `open_database`."""

    def __init__(
        self,
        pool: Pool,
        opened: "WeakSet[asyncpg.Connection[asyncpg.Record]]",
        open_pool: OpenPool,
        sessions: Sessions,
        statements: Statements,
        *,
        address: str,
    ) -> None:
        self._pool = pool
        self._opened = opened
        self._open_pool = open_pool
        self.sessions = sessions
        self._loop = trio_asyncio.current_loop.get()
        self._callbacks = callback_queue_of(self._loop)
        # Timers keep the context in which they were set until they would have gone off, though they are
        # cancelled long before. That must not be a caller's, which may hold a whole request.
        self._context = contextvars.copy_context()
        self.statements = statements
        self.schema = statements.schema
        self.address = address

    def auto_reset_event(self) -> AsyncioAutoResetEvent:
        """Return an event for a unit of work to wait for."""
        return AsyncioAutoResetEvent(self._callbacks.run)

    def poll_sockets(self) -> None:
        """Handle what has come from Postgres: for long turns of the loop, for a microsecond."""
        self._callbacks.poll_sockets()

    def sql(self, name: str) -> str:
        """Return the named statement for this schema. Error: `UnknownStatement`."""
        return self.statements[name]

    def backends(self) -> list[int]:
        """Return the process ids of the server behind the connections; of a pooler they are made up."""
        return [one.get_server_pid() for one in self._opened if not one.is_closed()]

    @asynccontextmanager
    async def own_connection(self, timeout: float = OWN_TIMEOUT) -> AsyncIterator["Database"]:
        """Give the same database with one connection of its own, for a task that does the same all the time.

        Postgres makes and keeps plans by connection: so each is made once, and not by all of the pool. It is
        opened at once, within `timeout` seconds. Error: `DatabaseUnavailable`. At the end it is cut: no unit
        of work may be under way by then.
        """
        pool, opened = await trio_asyncio.aio_as_trio(self._open_pool)(1)

        async def cut() -> None:
            pool.terminate()

        own = Database(pool, opened, self._open_pool, self.sessions, self.statements, address=self.address)
        try:
            await _reach(own, timeout)
            yield own
        finally:
            with trio.move_on_after(CUT_TIMEOUT, shield=True):
                await trio_asyncio.aio_as_trio(cut)()

    async def close(self) -> None:
        """Close the connections, within `CLOSE_TIMEOUT`."""
        with trio.move_on_after(CLOSE_TIMEOUT + 1, shield=True):
            await trio_asyncio.aio_as_trio(self._close)()

    async def run(self, unit: Unit[T], timeout: float | None = None) -> T:
        """Run the asyncio function `unit` with a connection, from Trio, and return its result.

        Each statement of the unit ends after `command_timeout`, the whole unit after `timeout` seconds,
        waiting for a connection after `ACQUIRE_TIMEOUT`. A cancelled unit may still be committed, and so may
        one that ends with `DatabaseUnavailable`. `RetryTransaction` says that it was rolled back. Other
        errors are the unit's own.
        """
        begin = partial(self._loop.create_task, self._work(unit, timeout), context=self._context)
        task = self._callbacks.do(
            begin
        )  # its first statement is on its way before anything else has its turn
        result: T = await trio_asyncio.run_aio_future(task)
        return result

    async def _work(self, unit: Unit[T], timeout: float | None) -> T:
        connection: Pooled | None = None
        closed = False
        try:
            connection = await self._acquire()
            try:
                async with asyncio.timeout(timeout):
                    result = await unit(connection)
            except BaseException:
                closed = _is_closed(connection)
                await self._release(connection, RELEASE_TIMEOUT)
                raise
            await self._release(connection)
            return result
        except Exception as error:
            closed = closed or self._pool.is_closing()
            failure = translate(error, connected=connection is not None, closed=closed)
            if failure is None:
                raise
            if isinstance(failure, DatabaseUnavailable):
                if failure.reconnect:
                    # The others of the pool probably lead to the same dead server: replace them before use.
                    await self._pool.expire_connections()
                failure.args = (f"database {self.address}: {failure}",)
            # Errors about the URL may quote its password.
            raise failure from (None if isinstance(error, ValueError) else error)

    async def _acquire(self) -> Pooled:
        if self._pool.get_idle_size():
            # Nothing to wait for. Every timer costs a turn of trio-asyncio's loop, and memory until it would
            # have rung.
            return await self._pool.acquire()
        # Not with acquire(timeout=...): that waits in a task of its own, and what it got can be lost between
        # the two.
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT):
                return await self._pool.acquire()
        except TimeoutError as error:
            if self._pool.get_size() < self._pool.get_max_size():
                raise
            raise DatabaseBusy(
                f"database {self.address}: all {self._pool.get_max_size()} connections were in use for"
                f" {ACQUIRE_TIMEOUT:g} s; raise pool_size in [database] of config.toml"
            ) from error

    async def _release(self, connection: Pooled, timeout: float | None = None) -> None:
        """Give the connection back. A failure to do so must not hide what the unit returned or raised.

        That takes time only, and `timeout`, after a unit that did not end in order.
        """
        try:
            await self._pool.release(connection, timeout=timeout)
        except FAILURES as error:
            logger.debug("a connection was thrown away instead of going back to the pool: %r", error)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._pool.close()
        except FAILURES as error:
            logger.warning("connections to Postgres were cut, as closing them in order failed: %r", error)
            self._pool.terminate()


@asynccontextmanager
async def open_database(
    url: str,
    *,
    schema: str = "hookd",
    pool_size: int = 10,
    command_timeout: float = 30.0,
    connect_timeout: float = 10.0,
    application_name: str = "hookd",
    prepared_statements: bool = True,
) -> AsyncIterator[Database]:
    """Open the database `url` for the block, inside `trio_asyncio.open_loop()`.

    Tries for `connect_timeout` seconds to reach the server, then raises `DatabaseUnavailable`; raises
    `DatabaseRefused` at once if the server does not let us in, or a pooler between makes other sessions than
    hookd needs. Behind one that loses prepared statements, `prepared_statements` must be false.
    """
    statements = load(schema)
    address = address_of(url)
    sessions = Sessions(
        url,
        statements,
        application_name=application_name,
        command_timeout=command_timeout,
        prepared_statements=prepared_statements,
    )

    async def open_pool(size: int) -> OpenedPool:
        opened: WeakSet[asyncpg.Connection[asyncpg.Record]] = WeakSet()
        pool = await asyncpg.create_pool(
            connect=partial(sessions.open, among=opened),
            min_size=0,
            max_size=size,
            # A unit leaves no state of the session behind, so nothing needs resetting; a round trip saved.
            reset=_nothing,
            max_queries=STATEMENTS_PER_CONNECTION,
            # Its timer would be set anew after each unit, and kept for minutes.
            max_inactive_connection_lifetime=0,
        )
        return pool, opened

    pool, opened = await trio_asyncio.aio_as_trio(open_pool)(pool_size)
    database = Database(pool, opened, open_pool, sessions, statements, address=address)
    loop = trio_asyncio.current_loop.get()
    loop.set_exception_handler(_log_background_error)
    try:
        await _reach(database, connect_timeout)
        yield database
    finally:
        await database.close()
        loop.set_exception_handler(None)


async def persistently(
    database: Database,
    unit: Unit[T],
    *,
    timeout: float | None = None,
    on_unavailable: Callable[[DatabaseUnavailable], None],
) -> T:
    """Run `unit` until it is done, whatever becomes of Postgres; only for units that may run more than once.

    Waits 0.1 to 5 s, with jitter, between the tries and ends only with a result, by cancellation, or with an
    error of the unit itself. `on_unavailable` hears of each failure to reach the server.
    """
    attempt = 0
    while True:
        try:
            return await database.run(unit, timeout)
        except RetryTransaction as error:
            logger.debug("runs again: %s", error)
        except DatabaseUnavailable as error:
            on_unavailable(error)
        await trio.sleep(pause(attempt))
        attempt += 1


async def warm_up(work: Awaitable[object]) -> None:
    """Await what does nothing but have Postgres make its plans, before they are needed and if that can be."""
    with suppress(*FAILURES, DatabaseUnavailable, RetryTransaction), trio.move_on_after(WARM_UP_TIMEOUT):
        await work


def pause(attempt: int) -> float:
    """Return the seconds to wait after failed try number `attempt` (from 0): doubling, half of it random."""
    least, most = BACKOFF
    return min(most, least * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)


def address_of(url: str) -> str:
    """Return the user, hosts and database of `url`, for people: without the password and other parameters."""
    try:
        parts = urlsplit(url)
        user, _, hosts = parts.netloc.rpartition("@")
        user = user.partition(":")[0]
    except ValueError:
        return "(its URL is not valid)"
    return f"{user}@{hosts}{parts.path}" if user else f"{hosts}{parts.path}" or "(by PGHOST and its like)"


async def _reach(database: Database, connect_timeout: float) -> None:
    """Return when the server has answered once, and the session is what it must be."""
    deadline = trio.current_time() + connect_timeout
    attempt = 0
    while True:
        try:
            return await database.run(database.sessions.examine, connect_timeout or CONNECT_TIMEOUT)
        except DatabaseRefused:
            raise
        except (DatabaseUnavailable, RetryTransaction) as error:
            if trio.current_time() + pause(attempt) >= deadline:
                if isinstance(error, DatabaseReadOnly):
                    raise
                if isinstance(error, DatabaseBusy):
                    raise DatabaseBusy(
                        f"{error}: a daemon has {OWN_CONNECTIONS} connections beside its pool_size; allow"
                        " more, or lower that"
                    ) from error
                raise DatabaseUnavailable(
                    f"{error}: start Postgres, or correct url in [database] of config.toml"
                ) from error
        await trio.sleep(pause(attempt))
        attempt += 1


def _is_closed(connection: Pooled) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # asyncpg took it back into the pool when the server closed it
        return True


def _log_background_error(loop: object, context: Mapping[str, Any]) -> None:
    """Log what asyncio reports when nobody waits for it, such as a failure to close a replaced connection.

    trio-asyncio would end the whole process instead, and a server that goes away causes such reports.
    """
    logger.warning("in the background: %s", context.get("message"), exc_info=context.get("exception"))


async def _nothing(connection: object) -> None:
    pass
