"""All that the API needs from the rest of the daemon."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
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
from daemon.store.history import History
from daemon.store.observation import Sight
from daemon.store.publisher import Publisher
from daemon.store.replays import Replays
from daemon.store.subscriptions import Subscriptions


class EndpointTests(Protocol):
    """What tests receivers: of the half of the daemon that sends, which the API does not import.

    May raise `daemon.store.database.DatabaseUnavailable`.
    """

    async def run(self, org_id: UUID, subscription_id: UUID, *, conformance: bool) -> EndpointTest | None:
        """Send the organisation's receiver a synthetic event; None if the subscription is gone.

        Raises `daemon.egress.report.EndpointTestsBusy` and `EndpointTestsStopping`.
        """


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
    """The API's dependencies. Each call of a store may raise `daemon.store.database.DatabaseUnavailable`.

    `settings` gives those of the moment, as a reload may change them. `check_url` parses and checks a
    receiver's URL, raising `daemon.egress.url.UrlRefused`. `ready` tells what works now. `published` is
    called after every successful publish, `claimable` when something may be due earlier than before.
    `observe` tells what is seen of Postgres and of the queue. `now` gives the database's time in Unix
    seconds, and `new_id` a UUIDv7 of it.
    """

    authenticator: Authenticator
    cursors: Cursors
    subscriptions: Subscriptions
    events: Publisher
    deliveries: History
    replays: Replays
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
