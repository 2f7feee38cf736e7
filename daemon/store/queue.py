"""The queue: claiming due deliveries of due hosts; `daemon.store.results` records what becomes of them.

The rules live in `sql/functions/`. Each is one statement, which a unit of work may share with others, so that
it costs one hop to asyncio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from daemon.store.attendance import ALONE, Place
from daemon.store.database import Connection, Database
from daemon.store.results import Held

REPAIR_HOSTS = 200


@dataclass(slots=True)
class Claimed(Held):
    """A leased delivery with what is needed to send it. `failures`: the failed attempts before.

    `body` is None where it is large: `body_of` gives it.
    """

    failures: int
    revision: int
    body: str | None
    org_id: UUID


@dataclass(frozen=True, slots=True)
class TargetRow:
    """Where and how a subscription wants its events, and its sealed secrets, newest first, good until then.

    `timeout` and the waits of `retry_schedule` in seconds; `headers` sealed.
    """

    subscription_id: UUID
    org_id: UUID
    revision: int
    url: str
    timeout: float | None
    headers: bytes | None
    secrets: tuple[bytes, ...]
    secrets_until: datetime | None
    retry_schedule: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """Organisations that get nothing in a claim, and how much each of the others gets at most (None: all)."""

    full: tuple[UUID, ...] = ()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a claim may lease for `lease` seconds: `slots` deliveries, `probe_slots` of them to unproven ones.

    `tokens` are random: one for the proven, one for the unproven; whoever loses the answer gives them to
    `leased`. `shares` and `probe_shares` bind organisations, in all and for unproven lanes.
    """

    tokens: tuple[UUID, UUID]
    slots: int
    probe_slots: int
    lease: float
    place: Place = ALONE
    shares: Shares = Shares()
    probe_shares: Shares = Shares()

    @property
    def arguments(self) -> tuple[object, ...]:
        """As the statements take it."""
        return (
            *self.tokens,
            self.slots,
            self.probe_slots,
            timedelta(seconds=self.lease),
            self.place.rank,
            self.place.daemons,
            self.shares.full,
            self.probe_shares.full,
            self.shares.most,
            self.probe_shares.most,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought. `next_due`: seconds until another may bring more, None if nothing is pending."""

    deliveries: list[Claimed]
    next_due: float | None


@dataclass(frozen=True, slots=True)
class Repair:
    """What the safety net found among the hosts up to `last_host`."""

    last_host: int
    drifted: int
    asleep: int


async def claim(database: Database, connection: Connection, request: ClaimRequest) -> Claim:
    """Lease due deliveries of any hosts, in a unit of work."""
    return read_claim(request, await connection.fetch(database.sql("claim_both"), *request.arguments))


def read_claim(request: ClaimRequest, rows: Sequence[Any]) -> Claim:
    """Return what a statement that claims has answered, in `rows`."""
    wait: float | None = 0.0
    if rows and rows[-1][2] is None:
        wait = rows[-1][1]
        rows = rows[:-1]
    taken = [Claimed(request.tokens[row[0]], *row[2:]) for row in rows]
    return Claim(taken, None if wait is None else max(0.0, wait))


async def fetch_targets(
    database: Database, connection: Connection, subscriptions: set[UUID]
) -> list[TargetRow]:
    """Return the targets of the subscriptions that still exist."""
    rows = await connection.fetch(database.sql("targets"), list(subscriptions))
    return [
        TargetRow(
            subscription_id=row["id"],
            org_id=row["org_id"],
            revision=row["revision"],
            url=row["url"],
            timeout=row["timeout"],
            headers=row["headers"],
            secrets=tuple(row["secrets"]),
            secrets_until=row["secrets_until"],
            retry_schedule=None if row["retry_schedule"] is None else tuple(row["retry_schedule"]),
        )
        for row in rows
    ]


async def target_of(database: Database, subscription_id: UUID) -> TargetRow | None:
    """Return the target of a subscription as it is now, None if it is gone."""

    async def unit(connection: Connection) -> TargetRow | None:
        found = await fetch_targets(database, connection, {subscription_id})
        return found[0] if found else None

    return await database.run(unit)


async def body_of(database: Database, subscription_id: UUID, event_id: UUID) -> str | None:
    """Return the body of an event that is pending for the subscription, None if it is gone."""
    statement = database.sql("body")

    async def unit(connection: Connection) -> str | None:
        body: str | None = await connection.fetchval(statement, subscription_id, event_id)
        return body

    return await database.run(unit)


async def repair(database: Database, after: int) -> Repair | None:
    """Look anew at the next hosts after the id `after`; None at the end."""
    statement = database.sql("repair")

    async def unit(connection: Connection) -> Repair | None:
        row = await connection.fetchrow(statement, after, REPAIR_HOSTS)
        return None if row is None else Repair(**row)

    return await database.run(unit)
