"""All that the API needs from the rest of the daemon."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from api.auth import Authenticator
from api.cursors import Cursors
from daemon.egress.url import Url
from daemon.store.events import NewEvent
from daemon.store.subscriptions import Subscription


class SubscriptionStore(Protocol):
    """Where subscriptions are kept; each call may raise `daemon.store.database.DatabaseUnavailable`."""

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
        """Keep a new subscription; raises `daemon.store.subscriptions.TooManySubscriptions`."""

    async def get(self, org_id: UUID, subscription_id: UUID) -> Subscription | None:
        """Return the organisation's subscription."""

    async def page(self, org_id: UUID, *, limit: int, before: UUID | None) -> list[Subscription]:
        """Return the organisation's subscriptions, newest first, with ids below `before`."""


class EventStore(Protocol):
    """Where events are published; may raise `daemon.store.database.DatabaseUnavailable`."""

    async def publish(self, events: Sequence[NewEvent]) -> list[UUID]:
        """Publish all or none; return their ids in order, for a known key the first event's id."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must work for the daemon to be ready; `detail` says what is wrong and what to do."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What requests may ask for. Sizes in bytes, times in seconds."""

    event_types: Sequence[str]
    max_body: int = 8 * 1024 * 1024
    max_batch: int = 1000
    max_event: int = 1024 * 1024
    max_depth: int = 64
    commit_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Services:
    """The API's dependencies.

    `settings` gives those of the moment, as a reload may change them. `check_url` parses and checks a
    receiver's URL, raising `daemon.egress.url.UrlRefused`. `ready` tells what works now. `published` is
    called after every successful publish.
    """

    authenticator: Authenticator
    cursors: Cursors
    subscriptions: SubscriptionStore
    events: EventStore
    settings: Callable[[], ApiSettings]
    check_url: Callable[[str], Awaitable[Url]]
    ready: Callable[[], Awaitable[Sequence[Check]]]
    published: Callable[[], None]
