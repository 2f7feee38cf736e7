"""Polling: whether there is anything to do, and telling publishers that nobody needs waking for it."""

from dataclasses import dataclass
from datetime import timedelta

from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Poll:
    """Whether there are events to route, and deliveries that a claim may find.

    `read_only`: no writes are taken. `unhinted`: publishers wake nobody, as they may be in a transaction of
    two phases.
    """

    inbox: bool
    due: bool
    read_only: bool
    unhinted: bool


async def poll(database: Database) -> Poll:
    """Look, cheaply, whether there is anything to do."""
    statement = database.sql("poll")

    async def unit(connection: Connection) -> Poll:
        row = await connection.fetchrow(statement)
        return Poll(False, False, False, False) if row is None else Poll(**row)

    return await database.run(unit)


async def stay_awake(database: Database, seconds: float) -> None:
    """Let publishers know that nobody needs waking for so many seconds."""
    statement = database.sql("stay_awake")

    async def unit(connection: Connection) -> None:
        await connection.execute(statement, timedelta(seconds=seconds))

    await database.run(unit)
