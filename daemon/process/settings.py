"""What the parts need of the configuration, in their own terms. Pure."""

from collections.abc import Callable
from typing import Generic, TypeVar

from api.auth import TokenRules
from api.connection import ServerLimits
from api.rate_limits import Rate
from api.services import ApiSettings, OwnSchedule
from daemon.config.model import Config
from daemon.delivery.body_writer import EventRules
from daemon.delivery.sender import DeliverySettings
from daemon.process.version import VERSION
from daemon.schemas import Schemas
from daemon.signing.standard import HeaderSettings

T = TypeVar("T")


class OfConfig(Generic[T]):
    """What `make` makes of the configuration of the moment; made again only where a reload made another."""

    def __init__(self, config: Callable[[], Config], make: Callable[[Config], T]) -> None:
        self._config = config
        self._make = make
        self._of = config()
        self._made = make(self._of)

    def __call__(self) -> T:
        """Return it."""
        config = self._config()
        if self._of is not config:
            self._made = self._make(config)
            self._of = config
        return self._made


def delivery_settings(config: Config) -> DeliverySettings:
    """Return how deliveries are sent and failures judged."""
    delivery = config.delivery
    return DeliverySettings(
        timeout=delivery.timeout,
        retry_schedule=delivery.retry_schedule,
        retry_jitter=delivery.retry_jitter,
        retry_after_max=delivery.retry_after_max,
        headers=HeaderSettings(config.signing.header_prefix, f"hookd/{VERSION}"),
    )


def api_settings(config: Config, schemas: Schemas) -> ApiSettings:
    """Return what requests may ask for."""
    api, events, delivery, signing = config.api, config.events, config.delivery, config.signing
    return ApiSettings(
        event_types=events.types,
        max_body=api.max_body,
        max_batch=api.max_batch,
        max_event=events.max_bytes,
        max_depth=events.max_depth,
        max_values=events.max_values,
        schemas=schemas,
        longest_timeout=delivery.timeout,
        own_schedule=OwnSchedule(delivery.own_retries, delivery.own_retry_min, delivery.own_retry_total),
        secret_overlap=signing.secret_overlap,
        longest_secret_overlap=signing.secret_overlap_max,
        header_prefix=signing.header_prefix,
        rate=Rate(api.rate, api.burst),
        cors_origins=api.cors_origins,
        access_log=config.logging.access,
    )


def event_rules(config: Config, schemas: Schemas) -> EventRules:
    """Return what events from SQL are held to."""
    return EventRules(config.events.max_depth, config.events.max_values, schemas)


def server_limits(config: Config) -> ServerLimits:
    """Return the bounds of the API's server."""
    api = config.api
    return ServerLimits(
        max_connections=api.max_connections,
        idle_timeout=api.idle_timeout,
        read_timeout=api.read_timeout,
        write_timeout=api.write_timeout,
        drain_timeout=min(api.drain_timeout, config.daemon.stop_timeout / 2),
    )


def token_rules(config: Config) -> TokenRules:
    """Return what a bearer token must fit."""
    auth = config.auth
    return TokenRules(
        algorithms=auth.algorithms,
        issuer=auth.issuer,
        audience=auth.audience,
        org_claim=auth.org_claim,
        roles_claim=auth.roles_claim,
        leeway=auth.leeway,
    )


def retention(config: Config) -> dict[str, float]:
    """Return for how many seconds the rows of each partitioned table are kept."""
    return {"event": config.retention.events, "attempt": config.retention.attempts}
