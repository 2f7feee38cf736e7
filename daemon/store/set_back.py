"""What the queue noted while Postgres' clock was ahead, after that clock was set back.

Retries, leases, pauses and limits would wait for the time that was wrong to come once more: by the rules in
`sql/functions/88_set_back.sql` they are brought to the time that it is.
"""

from datetime import datetime

from daemon.store.database import Connection, Database

HOSTS_AT_ONCE = 50


async def set_back(database: Database, since: datetime) -> None:
    """Follow a clock that was set back from `since`.

    Begun anew or by two daemons at once, what is due may only come earlier. Errors: as `Database.run`.
    """
    after: int | None = 0

    async def some_hosts(connection: Connection) -> int | None:
        found: int | None = await connection.fetchval(
            database.sql("set_back_hosts"), after, HOSTS_AT_ONCE, since
        )
        return found

    async def rest(connection: Connection) -> None:
        await connection.execute(database.sql("set_back_rest"), since)

    while after is not None:
        after = await database.run(some_hosts)
    await database.run(rest)
