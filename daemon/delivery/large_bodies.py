"""Large bodies: fetched just before they are sent, few at once: memory holds whatever is claimed."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import trio

from daemon.store.database import Database, DatabaseUnavailable, RetryTransaction
from daemon.store.queue import body_of

logger = logging.getLogger("hookd.delivery")

AT_ONCE = 32
WAIT = 5.0
"""Seconds to wait for room and for the body: well below what recording leaves of a lease."""


class LargeBodies:
    """Gives the bodies that a claim left out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._room = trio.CapacityLimiter(AT_ONCE)

    @asynccontextmanager
    async def of(self, subscription_id: UUID, event_id: UUID) -> AsyncIterator[bytes | None]:
        """Give the body for as long as the block lasts; None if it cannot be had in time."""
        body: str | None = None
        admitted = False
        with trio.move_on_after(WAIT):
            await self._room.acquire()
            admitted = True
            try:
                body = await body_of(self._database, subscription_id, event_id)
            except (DatabaseUnavailable, RetryTransaction) as error:
                logger.debug("a large body waits for Postgres: %s", error)
        try:
            yield None if body is None else body.encode()
        finally:
            if admitted:
                self._room.release()
