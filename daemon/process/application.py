"""The parts of the daemon, made from its configuration and not yet running."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from uuid import UUID

import trio

from api.app import create_app, create_metrics_app
from api.auth import Authenticator, TokenRules
from api.bytes_in_hand import BytesInHand
from api.connection import ServerLimits
from api.cursors import Cursors
from api.jwks import KeySet
from api.keys import KeySource
from api.quart_app import Api
from api.rate_limits import Rate
from api.request_replica import RequestReplica
from api.services import ApiSettings, OwnSchedule, Services
from daemon.clock import Clock
from daemon.config.hosts import HostSettings, host_settings
from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError
from daemon.delivery.attendance import Attendance
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.body_writer import EventRules
from daemon.delivery.endpoint_test import BURST, RATE, Bounds, EndpointTests
from daemon.delivery.large_bodies import LargeBodies
from daemon.delivery.request_budget import RequestBudget
from daemon.delivery.request_template import RequestTemplate
from daemon.delivery.sender import DeliverySettings, Sender
from daemon.delivery.targets import Target, Targets
from daemon.egress.addresses import AddressRules
from daemon.egress.assemble import make_exchange
from daemon.egress.pool import Pool
from daemon.egress.proxy_health import ProxyHealth
from daemon.egress.url import Url, UrlRefused
from daemon.egress.url_policy import UrlPolicy
from daemon.metrics import Metrics
from daemon.process.master_key import cursor_key
from daemon.process.open_files import idle_connections
from daemon.process.outgoing_proxy import outgoing_proxy
from daemon.process.readiness import Readiness
from daemon.process.startup import Prepared, StartError
from daemon.process.token_keys import key_source
from daemon.process.version import VERSION
from daemon.progress import Way
from daemon.schemas import SchemaError, load_schemas
from daemon.signing.secrets import SigningKey
from daemon.signing.standard import HeaderSettings
from daemon.signing.vault import Vault
from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.database import Database
from daemon.store.events import Events
from daemon.store.history import History
from daemon.store.observation import Observer
from daemon.store.publisher import Publisher
from daemon.store.queue import target_of
from daemon.store.replays import Replays
from daemon.store.subscriptions import Subscriptions
from daemon.store.tokens import take_tokens
from daemon.store.upkeep import apply_rules
from daemon.uuid7 import NewIds

logger = logging.getLogger("hookd")

RECORDING_TIME = 15.0
"""Seconds that recording may take beyond the request, before a lease ends."""


@dataclass(slots=True)
class Wakeups:
    """Who wakes whom: publishing the router, that the one for bulk work; these the claimer; the API replays;
    a leap of the clock the upkeep."""

    published: AsyncioAutoResetEvent
    bulk: AsyncioAutoResetEvent
    claimable: AutoResetEvent
    replays: AutoResetEvent
    upkeep: AutoResetEvent

    def look_in_inbox(self) -> None:
        """Wake both routers, for events of any kind."""
        self.published.set()
        self.bulk.set()


class Application:
    """Everything that the process runs. `config` is that of the moment, `clock` tells the database's time."""

    def __init__(
        self, prepared: Prepared, database: Database, master_keys: tuple[bytes, ...], clock: Clock
    ) -> None:
        """Make the parts; the newest of `master_keys` is the first. Error: `StartError`."""
        self.config = prepared.config
        self._delivery_settings = (prepared.config, _delivery_settings(prepared.config))
        self.database = database
        self.clock = clock
        self.stopping = trio.Event()
        self.attendance = Attendance(database)
        self.wakeups = Wakeups(
            database.auto_reset_event(),
            database.auto_reset_event(),
            AutoResetEvent(),
            AutoResetEvent(),
            AutoResetEvent(),
        )
        self.metrics = Metrics(VERSION, prepared.child.number if prepared.child else 1)
        self.metrics.reloaded_at = clock.now()
        self.metrics.clock_offset = lambda: clock.offset
        self.vault = Vault(*master_keys)
        config = prepared.config
        try:
            self.schemas = load_schemas(config.events.schemas)
        except SchemaError as error:
            raise StartError(str(error)) from error
        self.proxy_health = ProxyHealth(config.egress.proxy)
        self.metrics.proxy_down = lambda: bool(self.proxy_health.down)
        try:
            self.exchange = make_exchange(
                pool=Pool(max_idle=idle_connections(config)),
                allow_networks=config.egress.allow_networks,
                deny_networks=config.egress.deny_networks,
                ca_file=config.egress.ca_file,
                resolver=config.egress.resolver,
                max_response=config.delivery.max_response,
                excerpt=config.delivery.response_excerpt,
                proxy=outgoing_proxy(config.egress),
                proxy_health=self.proxy_health,
                source_address=config.egress.source_address,
                refused=self._refused,
            )
            keys = key_source(config, prepared.token_key)
            self.key_set = keys if isinstance(keys, KeySet) else None
        except (ValueError, SecretFileError) as error:
            raise StartError(str(error)) from error
        self._addresses = AddressRules(config.egress.allow_networks, config.egress.deny_networks)
        self.targets = Targets(
            parse_url=self._parse_url, decrypt=self.vault.decrypt, write=self._write_template, now=clock.now
        )
        self.sender = Sender(
            send=self.exchange.send,
            targets=self.targets,
            settings=self.delivery_settings,
            large_bodies=LargeBodies(database),
            now=clock.now,
        )
        self.endpoint_tests = EndpointTests(
            target_of=self._target_of,
            take=partial(take_tokens, database),
            post=self.exchange.post,
            settings=self.delivery_settings,
            stopping=self.stopping.is_set,
            now=clock.now,
            bounds=Bounds(RequestBudget(rate=RATE, burst=BURST, now=trio.current_time)),
        )
        self._of_config = (self.config, self._api_settings())
        self.way = Way(trio.current_time)
        self.way.publishing.backends = self.way.polling.backends = database.backends
        self.metrics.works = self.way.works
        self.metrics.stood = lambda: {part.name: part.stood() for part in self.way.parts}
        self.publisher = Publisher(Events(self.database), self.way.publishing)
        self.app = self._api(keys, cursor_key(master_keys))

    @property
    def lease(self) -> float:
        """Seconds for which a claimed delivery is ours."""
        return self.config.delivery.timeout + RECORDING_TIME

    def delivery_settings(self) -> DeliverySettings:
        """Return how deliveries are sent now."""
        of, settings = self._delivery_settings
        if of is not self.config:
            settings = _delivery_settings(self.config)
            self._delivery_settings = (self.config, settings)
        return settings

    async def _target_of(self, subscription_id: UUID) -> Target | None:
        row = await target_of(self.database, subscription_id)
        return None if row is None else self.targets.read(row)

    def _write_template(
        self, url: Url, keys: Sequence[SigningKey], headers: Sequence[tuple[bytes, bytes]]
    ) -> RequestTemplate:
        return RequestTemplate(url, keys, headers, self.delivery_settings().headers)

    def event_rules(self) -> EventRules:
        """Return what events from SQL are held to now."""
        events = self.config.events
        return EventRules(events.max_depth, events.max_values, self.schemas)

    def host_limits(self, host_key: str) -> HostSettings:
        """Return what the configuration of the moment holds a host to."""
        return host_settings(self.config.hosts, host_key)

    def retention(self) -> dict[str, float]:
        """Return for how many seconds the rows of each partitioned table are kept."""
        return {"event": self.config.retention.events, "attempt": self.config.retention.attempts}

    async def apply_rules(self) -> None:
        """Let the database know the configuration of the moment: publish()'s checks and the hosts' limits."""
        events = self.config.events
        changed = await apply_rules(
            self.database,
            types=events.types,
            max_bytes=events.max_bytes,
            max_depth=events.max_depth,
            host_limits=self.host_limits,
        )
        if changed:
            logger.info("%d hosts have other limits now", changed)

    def server_limits(self) -> ServerLimits:
        """Return the bounds of the API's server."""
        api = self.config.api
        return ServerLimits(
            max_connections=api.max_connections,
            idle_timeout=api.idle_timeout,
            read_timeout=api.read_timeout,
            write_timeout=api.write_timeout,
            drain_timeout=min(api.drain_timeout, self.config.daemon.stop_timeout / 2),
        )

    def _parse_url(self, url: str) -> Url:
        egress = self.config.egress
        try:
            return UrlPolicy(egress.https_only, egress.ports).parse(url)
        except UrlRefused as error:
            self._refused(error.rule)
            raise

    def _refused(self, rule: str) -> None:
        self.metrics.egress_refused.add((rule,))

    async def _check_url(self, url: str) -> Url:
        """Refuse what can be known without asking a nameserver; each connection is checked again."""
        parsed = self._parse_url(url)
        try:
            rule = self._addresses.refusal(ip_address(parsed.host))
        except ValueError:
            return parsed  # a name
        if rule is not None:
            self._refused(rule)
            logger.info(
                "a subscription's URL has the address %s: refused by the rule %s",
                parsed.host,
                rule,
                extra={"repeats_as": f"addresses in URLs: refused by the rule {rule}"},
            )
            raise UrlRefused(
                "address", "the address may not be sent to: use a public one", code="address_forbidden"
            )
        return parsed

    def _settings(self) -> ApiSettings:
        of, settings = self._of_config
        if of is not self.config:  # a reload makes another one
            settings = self._api_settings()
            self._of_config = (self.config, settings)
        return settings

    def _api_settings(self) -> ApiSettings:
        config = self.config
        return ApiSettings(
            event_types=config.events.types,
            max_body=config.api.max_body,
            max_batch=config.api.max_batch,
            max_event=config.events.max_bytes,
            max_depth=config.events.max_depth,
            max_values=config.events.max_values,
            schemas=self.schemas,
            longest_timeout=config.delivery.timeout,
            own_schedule=OwnSchedule(
                config.delivery.own_retries, config.delivery.own_retry_min, config.delivery.own_retry_total
            ),
            secret_overlap=config.signing.secret_overlap,
            longest_secret_overlap=config.signing.secret_overlap_max,
            header_prefix=config.signing.header_prefix,
            rate=Rate(config.api.rate, config.api.burst),
            cors_origins=config.api.cors_origins,
            access_log=config.logging.access,
        )

    def _api(self, keys: KeySource, cursor_key: bytes) -> Api:
        auth = self.config.auth
        rules = TokenRules(
            algorithms=auth.algorithms,
            issuer=auth.issuer,
            audience=auth.audience,
            org_claim=auth.org_claim,
            roles_claim=auth.roles_claim,
            leeway=auth.leeway,
        )
        services = Services(
            authenticator=Authenticator(rules, keys, now=self.clock.now),
            cursors=Cursors(cursor_key),
            subscriptions=Subscriptions(
                self.database,
                encrypt=self.vault.encrypt,
                decrypt=self.vault.decrypt,
                host_limits=self.host_limits,
                most=self.config.api.subscriptions_per_organisation,
            ),
            events=self.publisher,
            deliveries=History(self.database),
            replays=Replays(self.database, changed=self.wakeups.replays.set),
            endpoint_tests=self.endpoint_tests,
            replica=RequestReplica(
                decrypt=self.vault.decrypt, settings=lambda: self.delivery_settings().headers
            ),
            settings=self._settings,
            check_url=self._check_url,
            ready=Readiness(
                self.database,
                self.way,
                stopping=self.stopping.is_set,
                key_set=keys if isinstance(keys, KeySet) else None,
                clock=self.clock,
                proxy=self.proxy_health if self.config.egress.proxy else None,
            ).checks,
            published=self.wakeups.published.set,
            claimable=self.wakeups.claimable.set,
            now=self.clock.now,
            new_id=NewIds(self.clock.now),
            bytes_in_hand=BytesInHand(
                self.config.api.max_in_hand, self.config.api.max_in_hand_per_organisation
            ),
            metrics=self.metrics,
            observe=Observer(self.database).look,
        )
        separate = bool(self.config.metrics.bind)
        self.metrics_app = create_metrics_app(services) if separate else None
        return create_app(services, with_metrics=not separate)


def _delivery_settings(config: Config) -> DeliverySettings:
    delivery = config.delivery
    return DeliverySettings(
        timeout=delivery.timeout,
        retry_schedule=delivery.retry_schedule,
        retry_jitter=delivery.retry_jitter,
        retry_after_max=delivery.retry_after_max,
        headers=HeaderSettings(config.signing.header_prefix, f"hookd/{VERSION}"),
    )
