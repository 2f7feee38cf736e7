"""Publishing in bulk from tests, over a connection of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import asyncpg
import trio

T = TypeVar("T")
Sql = Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]


async def with_postgres(url: str, work: Sql[T]) -> T:
    """Run the asyncio function `work` with a connection, in a thread of its own."""

    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return await trio.to_thread.run_sync(lambda: asyncio.run(run()))


async def publish_many(url: str, org: UUID, count: int, event_type: str = "match.proposed") -> list[str]:
    """Publish `count` small events through SQL, 500 in a transaction; return their ids."""

    async def publish(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
        ids: list[str] = []
        for start in range(0, count, 500):
            numbers = range(start, min(count, start + 500))
            ids += await connection.fetchval(
                "select hookd.publish_batch($1, $2, $3::jsonb[])",
                org,
                [event_type] * len(numbers),
                [f'{{"number": {number}}}' for number in numbers],
            )
        return [str(one) for one in ids]

    return await with_postgres(url, publish)


async def rows(url: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Return the rows of a query."""

    async def fetch(connection: "asyncpg.Connection[asyncpg.Record]") -> list[asyncpg.Record]:
        return await connection.fetch(query, *arguments)

    return await with_postgres(url, fetch)


async def until_rows(url: str, query: str, wanted: object, seconds: float = 15) -> None:
    """Return when the query's first value is `wanted`: what is awaited happens in another process."""
    value = None
    with trio.move_on_after(seconds):
        while True:
            found = await rows(url, query)
            value = found[0][0] if found else None
            if value == wanted:
                return
            await trio.sleep(0.05)
    raise AssertionError(f"{query}: {value!r} instead of {wanted!r}")
