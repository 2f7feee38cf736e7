"""The floors of the inbox rest on transaction ids: do these still mean what they meant, and what if not."""

import logging

from daemon.store.database import Connection, Database

logger = logging.getLogger("hookd.store")

SHARDS = 32


async def meet_cluster(connection: Connection, database: Database) -> None:
    """Let the floors start anew if this database comes from another cluster (a unit's body)."""
    if await connection.fetchval(database.sql("meet_cluster")):
        logger.warning(
            "this database was moved here from another cluster (dump and restore, or an upgrade by"
            " replication): what was published before and since is looked through from the beginning"
        )


async def look_below_floors(database: Database) -> int:
    """Look for events where none should be, and lower those floors; return at how many of the shards.

    Errors: as `Database.run`.
    """

    async def unit(connection: Connection) -> int:
        await meet_cluster(connection, database)  # a failover may have led to another one
        # Shard by shard, each in a transaction of its own: no router waits for all of them.
        statement = database.sql("look_below_floor")
        return sum([await connection.fetchval(statement, shard) for shard in range(SHARDS)])

    lowered = await database.run(unit)
    if lowered:
        logger.error(
            "events lay below the floors of %d shards of the inbox, where no router looks; they are routed"
            " now: report this with what happened to the database before",
            lowered,
        )
    return lowered
