"""The subscriptions of organisations: register, read, pause and resume."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg

from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Subscription:
    """One organisation's endpoint and the event types it wants, as stored."""

    id: UUID
    org_id: UUID
    url: str
    events: tuple[str, ...]
    is_active: bool
    disabled_reason: str | None
    failure_count: int
    created_at: datetime
    revision: int


class TooManySubscriptions(Exception):
    """The organisation has `limit` subscriptions already."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"the organisation has {limit} subscriptions already: delete one, or let the operator raise"
            " subscriptions_per_organisation in [api] of config.toml"
        )


class HostLimits(Protocol):
    """What a host is held to: requests a second, requests at once after a quiet time, requests under way."""

    @property
    def rate(self) -> float: ...
    @property
    def burst(self) -> float: ...
    @property
    def in_flight(self) -> int: ...


class Subscriptions:
    """The subscriptions of a database. `seal` encrypts a secret for a subscription."""

    def __init__(
        self,
        database: Database,
        *,
        seal: Callable[[str, UUID], bytes],
        host_limits: Callable[[str], HostLimits],
        most: int,
    ) -> None:
        self._database = database
        self._seal = seal
        self._host_limits = host_limits
        self._most = most

    async def register(
        self,
        *,
        subscription_id: UUID,
        org_id: UUID,
        url: str,
        host_name: str,
        events: Sequence[str],
        secret: str,
    ) -> Subscription:
        """Store a new subscription. Errors: `TooManySubscriptions`, `DatabaseUnavailable`."""
        limits = self._host_limits(host_name)
        row = await self._one(
            "register",
            subscription_id,
            org_id,
            url,
            list(events),
            self._seal(secret, subscription_id),
            self._most,
            host_name,
            limits.rate,
            limits.burst,
            limits.in_flight,
        )
        if row is None or row["id"] is None:
            raise TooManySubscriptions(self._most)
        return _subscription(row)

    async def get(self, org_id: UUID, subscription_id: UUID) -> Subscription | None:
        """Return the subscription if the organisation has it."""
        row = await self._one("subscription", org_id, subscription_id)
        return None if row is None else _subscription(row)

    async def page(self, org_id: UUID, *, limit: int, before: UUID | None) -> list[Subscription]:
        """Return up to `limit` subscriptions of the organisation, newest first, with ids below `before`."""
        statement = self._database.sql("subscriptions_page")

        async def unit(connection: Connection) -> list[Subscription]:
            return [_subscription(row) for row in await connection.fetch(statement, org_id, before, limit)]

        return await self._database.run(unit)

    async def set_active(self, subscription_id: UUID, active: bool, reason: str | None = None) -> bool:
        """Resume, or pause with a reason; what is owed is held. False if there is none of that id."""
        statement = self._database.sql("set_active")

        async def unit(connection: Connection) -> bool:
            return bool(await connection.fetchval(statement, subscription_id, active, reason))

        return await self._database.run(unit)

    async def _one(self, name: str, *arguments: object) -> asyncpg.Record | None:
        statement = self._database.sql(name)

        async def unit(connection: Connection) -> asyncpg.Record | None:
            return await connection.fetchrow(statement, *arguments)

        return await self._database.run(unit)


def _subscription(row: asyncpg.Record) -> Subscription:
    return Subscription(
        id=row["id"],
        org_id=row["org_id"],
        url=row["url"],
        events=tuple(row["events"]),
        is_active=row["is_active"],
        disabled_reason=row["disabled_reason"],
        failure_count=row["failure_count"],
        created_at=row["created_at"],
        revision=row["revision"],
    )
