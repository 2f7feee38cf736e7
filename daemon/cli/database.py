"""The database of a command, which needs one connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio_asyncio

from daemon.config.model import Config
from daemon.store.database import Database, open_database


@asynccontextmanager
async def command_database(config: Config, url: str, command: str) -> AsyncIterator[Database]:
    """Open the database for the block, as `open_database` does, outside of any asyncio loop."""
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
        yield database
