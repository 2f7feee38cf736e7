"""The parts of the daemon, made from its configuration and not yet running."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import trio

from daemon.clock import Clock
from daemon.config.hosts import HostSettings, host_settings
from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError
from daemon.delivery.attendance import Attendance
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.body_writer import EventRules
from daemon.delivery.endpoint_test import BURST, RATE, Bounds, EndpointTests
from daemon.delivery.large_bodies import LargeBodies
from daemon.delivery.leases import lease_of
from daemon.delivery.request_budget import RequestBudget
from daemon.delivery.request_template import RequestTemplate
from daemon.delivery.sender import Sender
from daemon.delivery.targets import Target, Targets
from daemon.egress.assemble import NetworkSettings, make_exchange
from daemon.egress.exchange import Exchange
from daemon.egress.pool import Pool
from daemon.egress.proxy_health import ProxyHealth
from daemon.egress.url import Url
from daemon.metrics import Metrics
from daemon.process.open_files import idle_connections
from daemon.process.outgoing_proxy import outgoing_proxy
from daemon.process.settings import OfConfig, delivery_settings, event_rules
from daemon.process.startup import Prepared
from daemon.process.state import StartError
from daemon.process.url_rules import UrlRules
from daemon.process.version import VERSION
from daemon.progress import Way
from daemon.schemas import SchemaError, load_schemas
from daemon.signing.secrets import SigningKey
from daemon.signing.vault import Vault
from daemon.store.asyncio_auto_reset_event import AsyncioAutoResetEvent
from daemon.store.database import Database
from daemon.store.events import Events
from daemon.store.publisher import Publisher
from daemon.store.queue import target_of
from daemon.store.tokens import take_tokens
from daemon.store.upkeep import apply_rules

logger = logging.getLogger("hookd")


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

    def wake_all(self) -> None:
        """Wake everybody, to see that the daemon stops."""
        self.look_in_inbox()
        for one in (self.claimable, self.replays, self.upkeep):
            one.set()


class Application:
    """Everything that the process runs, but for the API around it.

    `config` is that of the moment, `clock` tells the database's time.
    """

    def __init__(
        self, prepared: Prepared, database: Database, master_keys: tuple[bytes, ...], clock: Clock
    ) -> None:
        """Make the parts; the newest of `master_keys` is the first. Error: `StartError`."""
        self.config = config = prepared.config
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
        self.vault = Vault(*master_keys)
        self.proxy_health = ProxyHealth(config.egress.proxy)
        self.way = Way(trio.current_time)
        self.way.publishing.backends = self.way.polling.backends = database.backends
        self.metrics = self._metrics(prepared.child.number if prepared.child else 1)
        self.publisher = Publisher(Events(database), self.way.publishing)
        self.delivery_settings = OfConfig(lambda: self.config, delivery_settings)
        self.url_rules = UrlRules(lambda: self.config, self.metrics)
        try:
            self.schemas = load_schemas(config.events.schemas)
            self.exchange = self._exchange(config)
        except (SchemaError, ValueError, SecretFileError) as error:
            raise StartError(str(error)) from error
        self.targets = Targets(
            parse_url=self.url_rules.parse,
            decrypt=self.vault.decrypt,
            write=self._write_template,
            now=clock.now,
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

    @property
    def lease(self) -> float:
        """Seconds for which a claimed delivery is ours."""
        return lease_of(self.config.delivery.timeout)

    def event_rules(self) -> EventRules:
        """Return what events from SQL are held to now."""
        return event_rules(self.config, self.schemas)

    def host_limits(self, host_key: str) -> HostSettings:
        """Return what the configuration of the moment holds a host to."""
        return host_settings(self.config.hosts, host_key)

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

    def _metrics(self, child: int) -> Metrics:
        metrics = Metrics(VERSION, child)
        metrics.reloaded_at = self.clock.now()
        metrics.clock_offset = lambda: self.clock.offset
        metrics.proxy_down = lambda: bool(self.proxy_health.down)
        metrics.works = self.way.works
        metrics.stood = lambda: {part.name: part.stood() for part in self.way.parts}
        return metrics

    def _exchange(self, config: Config) -> Exchange:
        egress = config.egress
        return make_exchange(
            NetworkSettings(
                allow_networks=egress.allow_networks,
                deny_networks=egress.deny_networks,
                ca_file=egress.ca_file,
                resolver=egress.resolver,
                proxy=outgoing_proxy(egress),
                source_address=egress.source_address,
            ),
            pool=Pool(max_idle=idle_connections(config)),
            max_response=config.delivery.max_response,
            excerpt=config.delivery.response_excerpt,
            proxy_health=self.proxy_health,
            refused=self.url_rules.count,
        )

    async def _target_of(self, subscription_id: UUID) -> Target | None:
        row = await target_of(self.database, subscription_id)
        return None if row is None else self.targets.read(row)

    def _write_template(
        self, url: Url, keys: Sequence[SigningKey], headers: Sequence[tuple[bytes, bytes]]
    ) -> RequestTemplate:
        return RequestTemplate(url, keys, headers, self.delivery_settings().headers)
