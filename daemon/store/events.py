"""Publishing: events whose bodies are ready go into the store, all or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.store.columns import some
from daemon.store.database import Connection, Database


@dataclass(slots=True)
class NewEvent:
    """An event to publish. `body` is the canonical text to send; `id` is the UUIDv7 that stands in it."""

    id: UUID
    org_id: UUID
    type: str
    body: str
    key: str | None = None
    deliver_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a request safe to repeat for 24 hours: its key, and a digest of what stands under it.

    `org_id` is who asks, not for whom. `part`: 0 for a whole request, else which batch of a stream.
    """

    org_id: UUID
    key: str
    fingerprint: bytes
    part: int = 0


class StillRunning(Exception):
    """Another request with the same key is being published at this moment."""


class OtherRequest(Exception):
    """The key was used for a request with another body."""


class Events:
    """The events of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish(self, events: Sequence[NewEvent], once: Once | None = None) -> list[UUID]:
        """Publish all of `events` or none, and return their ids in order.

        An event whose `key` its organisation used in the last 24 hours is not published again: the first
        event's id stands in its place. What was published `once` is not published again either: the ids are
        those of the first time. Errors: `StillRunning` and `OtherRequest` (with `once`; nothing was
        published), `DatabaseUnavailable` (it may have been published), `RetryTransaction` (it was not).
        """
        columns = (
            [event.id for event in events],
            [event.org_id for event in events],
            [event.type for event in events],
            [event.body for event in events],
            some([event.key for event in events]),
            some([event.deliver_after for event in events]),
        )
        statement = self._database.sql("publish_bodies" if once is None else "publish_once")

        async def unit(connection: Connection) -> list[UUID]:
            if once is None:
                ids: list[UUID] = await connection.fetchval(statement, *columns)
                return ids
            row = await connection.fetchrow(
                statement, once.org_id, once.key, once.part, once.fingerprint, *columns
            )
            return _outcome(row["outcome"], row["event_ids"]) if row is not None else []

        return await self._database.run(unit)


def _outcome(outcome: str, ids: list[UUID]) -> list[UUID]:
    match outcome:
        case "running":
            raise StillRunning
        case "differs":
            raise OtherRequest
    return ids
