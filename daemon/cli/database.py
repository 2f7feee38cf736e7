"""The database of a command, which needs one connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio_asyncio

from daemon.cli.failure import CommandError
from daemon.config.model import Config
from daemon.store.database import Database, RetryTransaction, open_database


@asynccontextmanager
async def command_database(config: Config, url: str, command: str) -> AsyncIterator[Database]:
    """Open the database for the block, as `open_database` does, outside of any asyncio loop.

    Error: `CommandError` where a transaction lost a race.
    """
    async with (
        trio_asyncio.open_loop(),
        open_database(
            url,
            schema=config.database.schema,
            pool_size=1,
            command_timeout=config.database.command_timeout,
            prepared_statements=config.database.prepared_statements,
            application_name=f"hookd {command}",
        ) as database,
    ):
        try:
            yield database
        except RetryTransaction as error:
            raise CommandError(
                f"another session was in the way, and nothing was changed: run this again ({error})"
            ) from error
