"""What time it is in Postgres."""

from daemon.clock import Clock
from daemon.store.database import Connection, Database

_READINGS = 4


async def correct_clock(connection: Connection, database: Database, clock: Clock) -> float:
    """Correct `clock` by the database's (a unit's body); return by how many seconds it was moved."""
    statement = database.sql("clock")
    moved = 0.0
    for _ in range(_READINGS):  # the quickest answer tells most
        asked = clock.steady()
        told = await connection.fetchval(statement)
        moved += clock.correct(told, asked=asked, answered=clock.steady())
    return moved
