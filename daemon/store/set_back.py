"""What the queue noted while Postgres' clock was ahead, after that clock was set back.

Retries, leases, pauses and limits would wait for the time that was wrong to come once more: by the rules in
`sql/functions/88_set_back.sql` they are brought to the time that it is.
"""

from datetime import datetime
from uuid import uuid4

from daemon.store.database import Connection, Database
from daemon.store.retention import DUTY_TIME

DUTY = "set_back"
HOSTS_AT_ONCE = 20
HOSTS_TIMEOUT = 240.0
"""Seconds for that many: one may be owed a million deliveries. Less than the duty lasts."""


async def set_back(database: Database, since: datetime) -> bool:
    """Follow a clock that was set back from `since`; tell whether that is done, and by us.

    Begun anew where one died at it, what is due may only come earlier. Errors: as `Database.run`.
    """
    holder = uuid4()
    after: int | None = 0

    async def some_hosts(connection: Connection) -> tuple[bool, int | None]:
        if not await connection.fetchval(database.sql("take_duty"), DUTY, holder, DUTY_TIME):
            return False, None
        found: int | None = await connection.fetchval(
            database.sql("set_back_hosts"), after, HOSTS_AT_ONCE, since, timeout=HOSTS_TIMEOUT
        )
        return True, found

    async def rest(connection: Connection) -> None:
        await connection.execute(database.sql("set_back_rest"), since)
        await connection.execute(database.sql("leave_duty"), DUTY, holder)

    while after is not None:
        ours, after = await database.run(some_hosts)
        if not ours:
            return False
    await database.run(rest)
    return True
