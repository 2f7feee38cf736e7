"""Attendance: which daemons live, so that each knows which hosts it prefers."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the `daemons` that live a daemon is, from 0: so it knows which hosts it prefers."""

    rank: int = 0
    daemons: int = 1


ALONE = Place()


async def attend(database: Database, daemon: UUID, seconds: float) -> Place:
    """Say that a daemon lives, for so many seconds, and return its place among those that do."""
    statement = database.sql("attend")

    async def unit(connection: Connection) -> Place:
        [row] = await connection.fetch(statement, daemon, timedelta(seconds=seconds))
        return Place(**row)

    return await database.run(unit)


async def leave(database: Database, daemon: UUID) -> None:
    """Leave a daemon's hosts to the others at once."""
    statement = database.sql("leave")

    async def unit(connection: Connection) -> None:
        await connection.execute(statement, daemon)

    await database.run(unit)
