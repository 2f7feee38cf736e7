"""Publishing: events whose bodies are ready go into the store, all or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to publish. `body` is the canonical text to send; `id` is the UUIDv7 that stands in it."""

    id: UUID
    org_id: UUID
    type: str
    body: str
    key: str | None = None
    deliver_after: datetime | None = None


class Events:
    """The events of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish(self, events: Sequence[NewEvent]) -> list[UUID]:
        """Publish all of `events` or none, and return their ids in order.

        An event whose `key` its organisation used in the last 24 hours is not published again: the first
        event's id stands in its place. Errors: `DatabaseUnavailable` (it may have been published),
        `RetryTransaction` (it was not).
        """
        columns = (
            [event.id for event in events],
            [event.org_id for event in events],
            [event.type for event in events],
            [event.body for event in events],
            [event.key for event in events],
            [event.deliver_after for event in events],
        )
        statement = self._database.sql("publish_bodies")

        async def unit(connection: Connection) -> list[UUID]:
            ids: list[UUID] = await connection.fetchval(statement, *columns)
            return ids

        return await self._database.run(unit)
