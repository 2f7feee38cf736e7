"""What sessions of ours wait for in Postgres: a lock and who holds it, or something of the server's own."""

import asyncio
from collections.abc import Sequence

import asyncpg
import trio
import trio_asyncio

from daemon.store.database import Connection, Database
from daemon.store.failure import DatabaseUnavailable, RetryTransaction

TIMEOUT = 2.0


async def look_for_block(database: Database, backends: Sequence[int]) -> str | None:
    """Return in words what the server processes `backends` wait for; None if nothing is seen of it.

    Error: `DatabaseUnavailable`.
    """

    async def unit(connection: Connection) -> str | None:
        ours = list(backends)
        if not database.sessions.direct:  # a pooler makes up the ids that it tells
            ours = await connection.fetchval(database.sql("backends_by_name"))
        held = await connection.fetchrow(database.sql("lock_waited_for"), ours)
        if held is not None:
            return describe_lock(**held)
        busy = await connection.fetchrow(database.sql("longest_statement"), ours)
        return None if busy is None else describe_statement(**busy)

    with trio.move_on_after(TIMEOUT * 1.5):
        try:
            return await database.run(unit, TIMEOUT)
        except RetryTransaction:
            return None
    # The pool may be what is used up: by requests that wait for the same.

    async def apart() -> str | None:
        async with asyncio.timeout(TIMEOUT * 2):
            connection = await database.sessions.open()
            try:
                return await unit(connection)
            finally:
                connection.terminate()

    try:
        seen: str | None = await trio_asyncio.aio_as_trio(apart)()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise DatabaseUnavailable(
            f"no connection of the pool was free, and another one got no answer: {error!r}"
        ) from error
    return seen


def describe_lock(
    *,
    waited_for: str,
    pid: int,
    account: str | None,
    application: str | None,
    state: str | None,
    age: float | None,
) -> str:
    """Return who holds the lock that is waited for, and how to end that; no text of statements."""
    if pid == 0:
        return (
            f"waits for a lock on {waited_for} that a prepared transaction holds; see pg_prepared_xacts, and"
            " commit or roll it back"
        )
    known = [
        f"account {account}" if account else "",
        f"application {application}" if application else "",
        state or "",
        f"in a transaction for {age:.0f} s" if age is not None else "",
    ]
    who = ", ".join(part for part in known if part) or "hookd's account may not see more of it"
    return (
        f"waits for a lock on {waited_for} that process {pid} of Postgres holds ({who}); end its transaction,"
        f" or the session: select pg_terminate_backend({pid})"
    )


def describe_statement(*, pid: int, wait: str | None, age: float) -> str:
    """Return how long a statement of ours has run, and what Postgres says that it waits for."""
    what = f"waits for {wait}" if wait else "works"
    return f"its statement has run for {age:.0f} s in process {pid} of Postgres, which {what}"
