"""The subscriptions of organisations: register, read, change, delete, pause and resume."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import asyncpg

from daemon.filters import path_of, shown
from daemon.signing.secrets import BadSecretError, PrivateKey, parse_secret
from daemon.signing.vault import VaultError
from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Extras:
    """What a subscription may have besides; None: not set.

    `headers` are sent with each request. `filter` is as its owner wrote it, see `daemon.filters.stored`, and
    `filter_problem` why it is not evaluated, which only the store says. `rate_limit` in requests a second,
    `timeout` and each wait of `retry_schedule` in seconds.
    """

    description: str | None = None
    metadata: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    filter: str | None = None
    filter_problem: str | None = None
    rate_limit: float | None = None
    ordered: bool = False
    timeout: float | None = None
    retry_schedule: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """One organisation's endpoint and the event types it wants, as stored.

    `public_key` is the half of its newest secret that receivers have, where that is a pair.
    """

    id: UUID
    org_id: UUID
    url: str
    events: tuple[str, ...]
    is_active: bool
    disabled_reason: str | None
    failure_count: int
    created_at: datetime
    revision: int
    extras: Extras = Extras()
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """One that is to be registered; `host_key` belongs to `url`."""

    id: UUID
    org_id: UUID
    url: str
    host_key: str
    events: Sequence[str]
    secret: str
    is_active: bool = True
    extras: Extras = Extras()


@dataclass(frozen=True, slots=True)
class Change:
    """New values for the fields that `given` names (url, events, is_active and those of `Extras`).

    `host_key` belongs to `url`.
    """

    given: frozenset[str]
    url: str | None = None
    host_key: str | None = None
    events: Sequence[str] | None = None
    is_active: bool | None = None
    extras: Extras = Extras()


class TooManySubscriptions(Exception):
    """The organisation has `limit` subscriptions already."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"the organisation has {limit} subscriptions already: delete one, or let the operator raise"
            " subscriptions_per_organisation in [api] of config.toml"
        )


class ChangedMeanwhile(Exception):
    """The subscription does not have the expected revision any more."""


class HeadersForAnotherHost(Exception):
    """A new URL at another host would be sent the headers that were set for the old one."""


class TooManySecrets(Exception):
    """As many secrets as are allowed sign for the subscription already."""


class HostLimits(Protocol):
    """What a host is held to: requests a second, requests at once after a quiet time, requests under way."""

    @property
    def rate(self) -> float: ...
    @property
    def burst(self) -> float: ...
    @property
    def in_flight(self) -> int: ...


MAX_SECRETS = 5
"""Secrets of one subscription that sign at once: each makes a signature in every request."""


class Subscriptions:
    """The subscriptions of a database. `encrypt` makes a text one for a subscription alone to `decrypt`."""

    def __init__(
        self,
        database: Database,
        *,
        encrypt: Callable[[str, UUID], bytes],
        decrypt: Callable[[bytes, UUID], str],
        host_limits: Callable[[str], HostLimits],
        most: int,
    ) -> None:
        self._database = database
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._host_limits = host_limits
        self._most = most

    async def register(self, new: NewSubscription) -> Subscription:
        """Store a new one. Errors: `TooManySubscriptions`, `FilterRefused`, `DatabaseUnavailable`."""
        limits = self._host_limits(new.host_key)
        row = await self._one(
            "register",
            new.id,
            new.org_id,
            new.url,
            list(new.events),
            self._encrypt(new.secret, new.id),
            self._most,
            new.host_key,
            limits.rate,
            limits.burst,
            limits.in_flight,
            *self._columns(new.extras, new.id),
            new.is_active,
        )
        if row is None or row["id"] is None:
            raise TooManySubscriptions(self._most)
        return self._subscription(row)

    async def get(self, org_id: UUID, subscription_id: UUID) -> Subscription | None:
        """Return the subscription if the organisation has it."""
        row = await self._one("subscription", org_id, subscription_id)
        return None if row is None else self._subscription(row)

    async def page(self, org_id: UUID, *, limit: int, before: UUID | None) -> list[Subscription]:
        """Return up to `limit` subscriptions of the organisation, newest first, with ids below `before`."""
        statement = self._database.sql("subscriptions_page")

        async def unit(connection: Connection) -> list[Subscription]:
            return [
                self._subscription(row) for row in await connection.fetch(statement, org_id, before, limit)
            ]

        return await self._database.run(unit)

    async def change(
        self, org_id: UUID, subscription_id: UUID, change: Change, *, revisions: Collection[int] | None
    ) -> Subscription | None:
        """Change what `change` gives and return the subscription, or None if the organisation has it not.

        What is pending moves with the URL. Errors: `ChangedMeanwhile` unless it has one of `revisions` (None:
        any), `HeadersForAnotherHost`, `DatabaseUnavailable`, `RetryTransaction`.
        """
        limits = self._host_limits(change.host_key or "")
        arguments = (
            org_id,
            subscription_id,
            _listed(revisions),
            list(change.given),
            change.url,
            change.host_key,
            limits.rate,
            limits.burst,
            limits.in_flight,
            None if change.events is None else list(change.events),
            change.is_active,
            *self._columns(change.extras, subscription_id),
        )
        statement, read = self._database.sql("change"), self._database.sql("subscription")

        async def unit(connection: Connection) -> Subscription | None:
            outcome = await connection.fetchval(statement, *arguments)
            if outcome == "conflict":
                raise ChangedMeanwhile
            if outcome == "headers":
                raise HeadersForAnotherHost
            row = await connection.fetchrow(read, org_id, subscription_id)
            return None if outcome == "missing" or row is None else self._subscription(row)

        return await self._database.run(unit)

    async def rotate(
        self,
        org_id: UUID,
        subscription_id: UUID,
        secret: str,
        overlap: float,
        *,
        revisions: Collection[int] | None,
    ) -> datetime | None:
        """Sign with `secret` from now on, beside the secrets before for `overlap` seconds.

        Returns the moment from which it signs alone, None if the organisation has no such subscription.
        Errors: `ChangedMeanwhile` as for `change`, `TooManySecrets`, `DatabaseUnavailable`,
        `RetryTransaction`.
        """
        row = await self._one(
            "rotate",
            org_id,
            subscription_id,
            self._encrypt(secret, subscription_id),
            timedelta(seconds=overlap),
            MAX_SECRETS,
            _listed(revisions),
        )
        if row is not None and row["outcome"] == "conflict":
            raise ChangedMeanwhile
        if row is not None and row["outcome"] == "crowded":
            raise TooManySecrets
        return None if row is None or row["outcome"] == "missing" else row["until"]

    async def end_previous_secrets(
        self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None
    ) -> bool:
        """Sign with the newest secret alone from now on; False if the organisation has no such subscription.

        Errors: `ChangedMeanwhile` as for `change`, `DatabaseUnavailable`, `RetryTransaction`.
        """
        row = await self._one("end_previous_secrets", org_id, subscription_id, _listed(revisions))
        if row is not None and row[0] == "conflict":
            raise ChangedMeanwhile
        return row is not None and row[0] == "ended"

    async def remove(self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None) -> bool:
        """Delete the subscription with all that is pending to it, and its history; False if there is none.

        Errors: `ChangedMeanwhile` as for `change`, `DatabaseUnavailable`, `RetryTransaction`.
        """
        row = await self._one("remove", org_id, subscription_id, _listed(revisions))
        if row is not None and row[0] == "conflict":
            raise ChangedMeanwhile
        return row is not None and row[0] == "removed"

    async def _one(self, name: str, *arguments: object) -> asyncpg.Record | None:
        statement = self._database.sql(name)

        async def unit(connection: Connection) -> asyncpg.Record | None:
            return await connection.fetchrow(statement, *arguments)

        return await self._database.run(unit)

    def _columns(self, extras: Extras, subscription_id: UUID) -> tuple[object, ...]:
        headers = None if extras.headers is None else json.dumps(dict(extras.headers))
        return (
            extras.description,
            None if extras.metadata is None else json.dumps(dict(extras.metadata)),
            None if headers is None else self._encrypt(headers, subscription_id),
            extras.filter,
            None if extras.filter is None else path_of(shown(extras.filter)),
            extras.rate_limit,
            extras.ordered,
            extras.timeout,
            None if extras.retry_schedule is None else list(extras.retry_schedule),
        )

    def _subscription(self, row: asyncpg.Record) -> Subscription:
        headers = None if row["headers"] is None else json.loads(self._decrypt(row["headers"], row["id"]))
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
            extras=Extras(
                description=row["description"],
                metadata=None if row["metadata"] is None else json.loads(row["metadata"]),
                headers=headers,
                filter=row["filter"],
                filter_problem=row["filter_problem"],
                rate_limit=row["rate_limit"],
                ordered=row["ordered"],
                timeout=row["timeout"],
                retry_schedule=row["retry_schedule"],
            ),
            public_key=self._public_key(row),
        )

    def _public_key(self, row: asyncpg.Record) -> str | None:
        """Return the public half of the newest secret, unless that is a shared one or cannot be opened."""
        with suppress(VaultError, BadSecretError):
            key = parse_secret(self._decrypt(row["secret"], row["id"]))
            return key.public if isinstance(key, PrivateKey) else None
        return None


def _listed(revisions: Collection[int] | None) -> list[int] | None:
    return None if revisions is None else list(revisions)
