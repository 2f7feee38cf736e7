"""Requests that are no deliveries take of a host's rate, too."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a host's rate had for some requests.

    `rate` is in requests a second. `wait`: seconds after which there is enough; None: they may go now.
    `blocked_until`: until when an open circuit keeps deliveries from the host; None while it is closed.
    """

    host: str
    rate: float
    wait: float | None
    blocked_until: datetime | None


async def take_tokens(database: Database, org_id: UUID, subscription_id: UUID, count: int) -> Tokens | None:
    """Let `count` requests to a subscription's host go, if its rate allows; None if it is gone.

    Errors: `DatabaseUnavailable`, `RetryTransaction`.
    """
    statement = database.sql("take_tokens")

    async def unit(connection: Connection) -> Tokens | None:
        row = await connection.fetchrow(statement, org_id, subscription_id, count)
        return None if row is None or row["host"] is None else Tokens(**row)

    return await database.run(unit)
