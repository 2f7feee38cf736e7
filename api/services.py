"""All that the API needs from the rest of the daemon."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from api.auth import Authenticator
from api.bytes_in_hand import BytesInHand
from api.cursors import Cursors
from api.loop_time import LoopTime
from api.rate_limits import NO_LIMIT, Rate, RateLimits
from api.request_replica import RequestReplica
from daemon.egress.report import EndpointTest
from daemon.egress.url import Url
from daemon.metrics import Metrics
from daemon.schemas import Schemas
from daemon.store.events import NewEvent, Once
from daemon.store.history import AttemptFilter, AttemptPage, Delivery, OwedPage
from daemon.store.observation import Sight
from daemon.store.replays import Replay, Selection
from daemon.store.subscriptions import Change, Extras, Subscription


class SubscriptionStore(Protocol):
    """Where subscriptions are kept; each call may raise `daemon.store.database.DatabaseUnavailable`."""

    async def register(
        self,
        *,
        subscription_id: UUID,
        org_id: UUID,
        url: str,
        host_key: str,
        events: Sequence[str],
        secret: str,
        is_active: bool,
        extras: Extras,
    ) -> Subscription:
        """Keep a new subscription; raises `daemon.store.subscriptions.TooManySubscriptions`."""

    async def get(self, org_id: UUID, subscription_id: UUID) -> Subscription | None:
        """Return the organisation's subscription."""

    async def page(self, org_id: UUID, *, limit: int, before: UUID | None) -> list[Subscription]:
        """Return the organisation's subscriptions, newest first, with ids below `before`."""

    async def change(
        self, org_id: UUID, subscription_id: UUID, change: Change, *, revisions: Collection[int] | None
    ) -> Subscription | None:
        """Change what is given.

        Raises `daemon.store.subscriptions.ChangedMeanwhile` at other revisions, and `HeadersForAnotherHost`.
        """

    async def remove(self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None) -> bool:
        """Delete the subscription, what it is owed and its history; tell whether there was one.

        Raises `daemon.store.subscriptions.ChangedMeanwhile` at other revisions.
        """

    async def rotate(
        self,
        org_id: UUID,
        subscription_id: UUID,
        secret: str,
        overlap: float,
        *,
        revisions: Collection[int] | None,
    ) -> datetime | None:
        """Sign with a new secret; return when those before end.

        Raises `daemon.store.subscriptions.ChangedMeanwhile` at other revisions, and `TooManySecrets`.
        """

    async def end_previous_secrets(
        self, org_id: UUID, subscription_id: UUID, *, revisions: Collection[int] | None
    ) -> bool:
        """Sign with the newest secret alone from now on; tell whether there is such a subscription.

        Raises `daemon.store.subscriptions.ChangedMeanwhile` at other revisions.
        """


class EventStore(Protocol):
    """Where events are published; may raise `daemon.store.database.DatabaseUnavailable`."""

    async def publish(self, events: Sequence[NewEvent], once: Once | None = None) -> list[UUID]:
        """Publish all or none; return their ids in order, for a known key the first event's id.

        What was published `once` keeps its ids; raises `daemon.store.events.StillRunning` and `OtherRequest`.
        """


class EndpointTests(Protocol):
    """What tests receivers; may raise `daemon.store.database.DatabaseUnavailable`."""

    async def run(self, org_id: UUID, subscription_id: UUID, *, conformance: bool) -> EndpointTest | None:
        """Send the organisation's receiver a synthetic event; None if the subscription is gone.

        Raises `daemon.egress.report.EndpointTestsBusy` and `EndpointTestsStopping`.
        """


class DeliveryStore(Protocol):
    """Where the history is kept; each call may raise `daemon.store.database.DatabaseUnavailable`.

    Each gives None where the organisation has no such subscription or delivery.
    """

    async def attempts(
        self, org_id: UUID, subscription_id: UUID, wanted: AttemptFilter, *, limit: int, below: UUID | None
    ) -> AttemptPage | None:
        """Return attempts with ids below `below`, newest first."""

    async def owed(
        self,
        org_id: UUID,
        subscription_id: UUID,
        event_type: str | None,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> OwedPage | None:
        """Return what is owed, the first to go first."""

    async def delivery(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> Delivery | None:
        """Return one delivery with all that is known of it."""

    async def retry_now(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> bool:
        """Make a delivery that is owed due now; raises `daemon.store.history.CannotRetry`."""

    async def redeliver(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID) -> UUID | None:
        """Owe a delivery's event once more; raises `daemon.store.history.CannotRedeliver`."""


class ReplayStore(Protocol):
    """Where replays are kept; each call may raise `daemon.store.database.DatabaseUnavailable`."""

    async def ask(
        self, *, replay_id: UUID, org_id: UUID, subscription_id: UUID, selection: Selection
    ) -> Replay:
        """Begin a replay; raises `daemon.store.replays.ReplayRefused`."""

    async def count(self, *, org_id: UUID, subscription_id: UUID, selection: Selection) -> int:
        """Return how many events a replay would send; raises `daemon.store.replays.ReplayRefused`."""

    async def get(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        """Return a replay of the organisation's subscription."""

    async def page(
        self, org_id: UUID, subscription_id: UUID, *, limit: int, before: UUID | None
    ) -> list[Replay]:
        """Return the subscription's replays, newest first, with ids below `before`."""

    async def cancel(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        """End a replay and give up what it still owes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must work for the daemon to be ready; `detail` says what is wrong and what to do."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OwnSchedule:
    """Bounds of a subscription's own retry schedule: how many waits, each and all of them in seconds."""

    most: int = 20
    shortest: float = 1.0
    longest_in_all: float = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What requests may ask for. Sizes in bytes, times in seconds."""

    event_types: Sequence[str]
    max_body: int = 8 * 1024 * 1024
    max_batch: int = 1000
    max_event: int = 1024 * 1024
    max_depth: int = 64
    max_values: int = 20_000
    schemas: Schemas = field(default_factory=Schemas)
    commit_timeout: float = 10.0
    longest_timeout: float = 15.0
    own_schedule: OwnSchedule = OwnSchedule()
    secret_overlap: float = 86_400.0
    longest_secret_overlap: float = 30 * 86_400.0
    header_prefix: str = "X-Alter-"
    rate: Rate = NO_LIMIT
    cors_origins: Sequence[str] = ()
    access_log: bool = True


async def _nothing_seen() -> Sight:
    return Sight()


@dataclass(frozen=True, slots=True)
class Services:
    """The API's dependencies.

    `settings` gives those of the moment, as a reload may change them. `check_url` parses and checks a
    receiver's URL, raising `daemon.egress.url.UrlRefused`. `ready` tells what works now. `published` is
    called after every successful publish, `claimable` when something may be due earlier than before.
    `observe` tells what is seen of Postgres and of the queue. `now` gives the database's time in Unix
    seconds, and `new_id` a UUIDv7 of it.
    """

    authenticator: Authenticator
    cursors: Cursors
    subscriptions: SubscriptionStore
    events: EventStore
    deliveries: DeliveryStore
    replays: ReplayStore
    endpoint_tests: EndpointTests
    replica: RequestReplica
    settings: Callable[[], ApiSettings]
    check_url: Callable[[str], Awaitable[Url]]
    ready: Callable[[], Awaitable[Sequence[Check]]]
    published: Callable[[], None]
    claimable: Callable[[], None]
    now: Callable[[], float]
    new_id: Callable[[], UUID]
    rate_limits: RateLimits = field(default_factory=RateLimits)
    bytes_in_hand: BytesInHand = field(default_factory=BytesInHand)
    loop_time: LoopTime = field(default_factory=LoopTime)
    metrics: Metrics = field(default_factory=Metrics)
    observe: Callable[[], Awaitable[Sight]] = _nothing_seen
