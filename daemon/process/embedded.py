"""The embedded Postgres is ours to keep alive: where it is gone, it is started again."""

import logging

import trio

from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.embedded import Embedded, EmbeddedError

logger = logging.getLogger("hookd")

PERIOD = 5.0
ANSWER_TIMEOUT = 10.0


async def serve_embedded(server: Embedded, database: Database) -> None:
    """Ask the server every few seconds; where it does not answer, start it again."""
    statement = database.sql("ping")

    async def ping(connection: Connection) -> None:
        await connection.fetchval(statement)

    while True:
        await trio.sleep(PERIOD)
        try:
            await database.run(ping, ANSWER_TIMEOUT)
        except (DatabaseUnavailable, RetryTransaction) as error:
            logger.warning("the embedded Postgres does not answer: %s", error)
            try:
                await trio.to_thread.run_sync(server.ensure)
            except EmbeddedError as failure:
                logger.error("%s", failure)
