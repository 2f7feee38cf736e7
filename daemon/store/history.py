"""The history of a subscription: its attempts, its pending deliveries, and all about one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import asyncpg

from daemon.store.database import Connection, Database

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

SCAN = 5000
"""Rows that one page may read: a filter that matches few of many gives short pages, not a long wait."""
MAX_ATTEMPTS = 1000
"""Attempts of one delivery that are shown: its newest."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as recorded. Times in milliseconds; `phases_ms` are dns, connect, tls and first byte.

    The names are those of the columns. `ended` says how the delivery ended with it, None if it did not.
    `duration_ms` is None where no request was made, or its outcome is not known. `note` says what was
    imperfect in the answer. `phases_ms`, `excerpt` and `response_headers` are read with a single delivery
    only; without a response the excerpt is what went wrong, in words, and the headers are those of it that
    were kept, a line each, names in lower case.
    """

    id: UUID
    delivery_id: UUID
    event_id: UUID
    event_type: str
    attempt: int
    succeeded: bool
    response_status: int | None
    error: str | None
    ended: str | None
    duration_ms: float | None
    attempted_at: datetime
    next_attempt_at: datetime | None
    note: str | None = None
    phases_ms: Sequence[float | None] | None = None
    excerpt: str | None = None
    response_headers: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Which attempts: of that outcome and type, begun from `since` to before `until`; None: any."""

    succeeded: bool | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """Attempts, newest first; the next page holds those with ids below `below`, None at the end."""

    attempts: list[Attempt]
    below: UUID | None


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery that is pending. `attempt` counts those made or under way, `failures` those that failed."""

    id: UUID
    event_id: UUID
    event_type: str
    attempt: int
    failures: int
    due: datetime
    leased: bool


@dataclass(frozen=True, slots=True)
class PendingPage:
    """What is pending, the first to go first; the next page begins after `after`, None at the end."""

    pending: list[PendingDelivery]
    active: bool
    after: tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """All that decides when a delivery that is pending may go, as of `now`. Rates in requests a second.

    `ahead`: deliveries of the subscription that go before it, counted to 1000. `hold_until`: until when
    `Retry-After` holds the lane, and one in strict order the retry of its first delivery. `paced_until`: the
    moment up to which what was sent has used the lane's rate up. `share_in_flight`: requests of its
    organisation under way at the host, None where no other organisation uses that. `host_tokens`: requests
    that the host's rate leaves room for. `catching_up`: it may go ahead of its time, as its receiver is back.
    None in a moment: it binds nobody.
    """

    now: datetime
    due: datetime
    attempt: int
    failures: int
    leased: bool
    leased_until: datetime | None
    is_active: bool
    disabled_reason: str | None
    ahead: int
    ordered: bool
    hold_until: datetime | None
    lane_in_flight: int
    lane_window: int
    lane_rate: float | None
    paced_until: datetime | None
    host_key: str
    host_in_flight: int
    host_max_in_flight: int
    share_in_flight: int | None
    host_rate: float
    host_tokens: float
    circuit_open: bool
    blocked_until: datetime | None
    catching_up: bool


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret that signs, or signed, from `since` (None: always) to before `until` (None: for good)."""

    sealed: bytes
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery. `state` is None once nothing is pending any more; `body` where its event has expired.

    `url`, `headers` (sealed) and `secrets` (newest first) are the subscription's of today.
    """

    id: UUID
    subscription_id: UUID
    event_id: UUID
    event_type: str
    body: str | None
    attempts: list[Attempt]
    state: DeliveryState | None
    url: str
    headers: bytes | None
    secrets: list[SealedSecret]


class CannotRedeliver(Exception):
    """The event of the delivery cannot be sent; `reason`: expired or unrepresentable."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class CannotRetry(Exception):
    """The delivery is under way, or not pending any more; `reason`: sending or ended."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class History:
    """The histories in a database.

    Each call gives None where the organisation has no such subscription or delivery. Errors:
    `DatabaseUnavailable`, and of `redeliver` and `retry_now` `RetryTransaction`.
    """

    def __init__(self, database: Database, *, scan: int = SCAN) -> None:
        self._database = database
        self._scan = scan

    async def attempts(
        self, org_id: UUID, subscription_id: UUID, wanted: AttemptFilter, *, limit: int, below: UUID | None
    ) -> AttemptPage | None:
        """Return up to `limit` attempts with ids below `below`, newest first.

        Ids of one subscription are given in the order of commits, so pages that follow each other miss none
        and hold none twice, whatever is recorded meanwhile.
        """
        exists, statement = self._database.sql("subscription_is_active"), self._database.sql("attempts_page")
        arguments = (
            subscription_id,
            below,
            wanted.since,
            wanted.until,
            wanted.succeeded,
            wanted.event_type,
            limit + 1,  # one more than asked for tells whether there is another page
            self._scan,
        )

        async def unit(connection: Connection) -> AttemptPage | None:
            if await connection.fetchval(exists, org_id, subscription_id) is None:
                return None
            rows = await connection.fetch(statement, *arguments)
            found = [_filled(Attempt, row) for row in rows if row["delivery_id"] is not None]
            if len(found) > limit:
                return AttemptPage(found[:limit], found[limit - 1].id)
            return AttemptPage(found, rows[-1]["id"] if len(found) < len(rows) else None)

        return await self._database.run(unit)

    async def pending(
        self,
        org_id: UUID,
        subscription_id: UUID,
        event_type: str | None,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> PendingPage | None:
        """Return up to `limit` deliveries that are pending, those under way included, the first to go first.

        What fails meanwhile becomes due later, and so may be met again on a later page.
        """
        exists, statement = self._database.sql("subscription_is_active"), self._database.sql("pending_page")
        due, last = after or (None, None)
        arguments = (org_id, subscription_id, due, last, event_type, limit + 1, self._scan)

        async def unit(connection: Connection) -> PendingPage | None:
            active = await connection.fetchval(exists, org_id, subscription_id)
            if active is None:
                return None
            rows = await connection.fetch(statement, *arguments)
            found = [_filled(PendingDelivery, row) for row in rows if row["delivery_id"] is not None]
            if len(found) > limit:
                return PendingPage(found[:limit], active, (found[limit - 1].due, found[limit - 1].id))
            following = (rows[-1]["due"], rows[-1]["id"]) if len(found) < len(rows) else None
            return PendingPage(found, active, following)

        return await self._database.run(unit)

    async def delivery(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> Delivery | None:
        """Return one delivery with its newest `MAX_ATTEMPTS` attempts, oldest first."""
        names = ("delivery_state", "attempts_of", "event_of")
        delivery_state, attempts_of, event_of = (self._database.sql(name) for name in names)

        async def unit(connection: Connection) -> Delivery | None:
            # One snapshot, so that what is pending and what was attempted belong together.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                row = await connection.fetchrow(delivery_state, org_id, subscription_id, delivery_id)
                if row is None:
                    return None
                rows = await connection.fetch(attempts_of, subscription_id, delivery_id, MAX_ATTEMPTS)
                event_id = row["event_id"] or (rows[-1]["event_id"] if rows else None)
                if event_id is None:
                    return None
                event = await connection.fetchrow(event_of, org_id, event_id)
            attempts = [_filled(Attempt, one) for one in rows]
            return Delivery(
                id=delivery_id,
                subscription_id=subscription_id,
                event_id=event_id,
                event_type=event["type"]
                if event is not None
                else attempts[-1].event_type
                if attempts
                else "",
                body=None if event is None else event["body"],
                attempts=attempts,
                state=None if row["due"] is None else _filled(DeliveryState, row),
                url=row["url"],
                headers=row["headers"],
                secrets=_secrets(row),
            )

        return await self._database.run(unit)

    async def retry_now(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> bool:
        """Make a delivery that is pending due now; False if there is none. Error: `CannotRetry`."""
        statement = self._database.sql("retry_now")

        async def unit(connection: Connection) -> str:
            outcome: str = await connection.fetchval(statement, org_id, subscription_id, delivery_id)
            return outcome

        outcome = await self._database.run(unit)
        if outcome in ("sending", "ended"):
            raise CannotRetry(outcome)
        return outcome == "due"

    async def redeliver(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> UUID | None:
        """Owe the delivery's event once more, at once; return the new delivery. Error: `CannotRedeliver`."""
        statement = self._database.sql("redeliver")

        async def unit(connection: Connection) -> asyncpg.Record | None:
            return await connection.fetchrow(statement, org_id, subscription_id, delivery_id)

        row = await self._database.run(unit)
        if row is None or row["outcome"] == "missing":
            return None
        if row["outcome"] != "pending":
            raise CannotRedeliver(row["outcome"])
        made: UUID = row["delivery_id"]
        return made


def _filled(kind: type[T], row: asyncpg.Record) -> T:
    """Return a dataclass filled from the columns that have its fields' names; None for those not read."""
    return kind(**{field.name: row.get(field.name) for field in fields(kind)})


def _secrets(row: asyncpg.Record) -> list[SealedSecret]:
    columns = (row["secrets"] or [], row["secrets_from"] or [], row["secrets_until"] or [])
    return [SealedSecret(*one) for one in zip(*columns, strict=True)]
