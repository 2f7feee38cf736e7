"""The parts of the daemon, made from its configuration and not yet running."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

import trio

from api.app import create_app
from api.asgi import Api
from api.auth import Authenticator, TokenRules
from api.connection import ServerLimits
from api.cursors import Cursors
from api.keys import KeySource, PublicKey, SecretKey
from api.services import ApiSettings, Check, Services
from daemon.config.hosts import HostSettings, host_settings
from daemon.config.model import Config
from daemon.delivery.doorbell import Doorbell
from daemon.delivery.large_bodies import LargeBodies
from daemon.delivery.sender import Rules, Sender
from daemon.delivery.targets import Targets
from daemon.egress.addresses import AddressRules
from daemon.egress.assemble import make_exchange
from daemon.egress.pool import Pool
from daemon.egress.url import Url, UrlRefused, parse_url
from daemon.process.prepare import Prepared, StartError
from daemon.process.version import VERSION
from daemon.signing.vault import Vault
from daemon.store.database import Connection, Database, DatabaseUnavailable, RetryTransaction
from daemon.store.events import Events
from daemon.store.subscriptions import Subscriptions
from daemon.store.upkeep import apply_rules

logger = logging.getLogger("hookd")

RECORDING_TIME = 15.0
"""Seconds that recording may take beyond the request, before a lease ends."""
PING_TIMEOUT = 2.0


@dataclass(slots=True)
class Bells:
    """Who wakes whom: publishing the router; routing, recording and sweeping the claimer."""

    published: Doorbell
    claimable: Doorbell


class Parts:
    """Everything that the process runs. `config` is that of the moment."""

    def __init__(self, prepared: Prepared, database: Database) -> None:
        """Make the parts. Error: `StartError`."""
        self.config = prepared.config
        self.database = database
        self.stopping = trio.Event()
        self.bells = Bells(Doorbell(), Doorbell())
        self.vault = Vault(*prepared.master_keys)
        config = prepared.config
        _refuse_reserved(config)
        self.pool = Pool(max_idle=max(256, config.delivery.concurrency))
        try:
            exchange = make_exchange(
                pool=self.pool,
                allow_networks=config.egress.allow_networks,
                deny_networks=config.egress.deny_networks,
                ca_file=config.egress.ca_file,
                resolver=config.egress.resolver,
                max_response=config.delivery.max_response,
                excerpt=config.delivery.response_excerpt,
            )
            keys = _key_source(config, prepared.token_key)
        except ValueError as error:
            raise StartError(str(error)) from error
        self._addresses = AddressRules(config.egress.allow_networks, config.egress.deny_networks)
        self.targets = Targets(parse_url=self._parse_url, unseal=self.vault.decrypt)
        self.sender = Sender(
            post=exchange.post,
            targets=self.targets,
            rules=self.rules,
            large_bodies=LargeBodies(database),
        )
        self.app = self._api(prepared, keys)

    @property
    def lease(self) -> float:
        """Seconds for which a claimed delivery is ours."""
        return self.config.delivery.timeout + RECORDING_TIME

    def rules(self) -> Rules:
        """Return how deliveries are sent now."""
        delivery = self.config.delivery
        return Rules(
            timeout=delivery.timeout,
            retry_schedule=delivery.retry_schedule,
            retry_jitter=delivery.retry_jitter,
            retry_after_max=delivery.retry_after_max,
            header_prefix=self.config.signing.header_prefix,
            user_agent=f"hookd/{VERSION}",
        )

    def host_limits(self, host_name: str) -> HostSettings:
        """Return what the configuration of the moment holds a host to."""
        return host_settings(self.config.hosts, host_name)

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
        return parse_url(url, https_only=self.config.egress.https_only, ports=self.config.egress.ports)

    async def _check_url(self, url: str) -> Url:
        """Refuse what can be known without asking a nameserver; each connection is checked again."""
        parsed = self._parse_url(url)
        try:
            rule = self._addresses.refusal(ip_address(parsed.host))
        except ValueError:
            return parsed  # a name
        if rule is not None:
            raise UrlRefused(
                rule, "the address may not be sent to: use a public one", code="address_forbidden"
            )
        return parsed

    async def _ready(self) -> Sequence[Check]:
        stopping = self.stopping.is_set()
        checks = [Check("running", not stopping, "stopping; ask another daemon" if stopping else "")]
        statement = self.database.sql("ping")

        async def ping(connection: Connection) -> None:
            await connection.fetchval(statement)

        try:
            await self.database.run(ping, PING_TIMEOUT)
        except (DatabaseUnavailable, RetryTransaction) as error:
            return [*checks, Check("database", False, str(error))]
        return [*checks, Check("database", True)]

    def _settings(self) -> ApiSettings:
        config = self.config
        return ApiSettings(
            event_types=config.events.types,
            max_body=config.api.max_body,
            max_batch=config.api.max_batch,
            max_event=config.events.max_bytes,
            max_depth=config.events.max_depth,
        )

    def _api(self, prepared: Prepared, keys: KeySource) -> Api:
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
            authenticator=Authenticator(rules, keys),
            cursors=Cursors(prepared.cursor_key),
            subscriptions=Subscriptions(
                self.database,
                seal=self.vault.encrypt,
                host_limits=self.host_limits,
                most=self.config.api.subscriptions_per_organisation,
            ),
            events=Events(self.database),
            settings=self._settings,
            check_url=self._check_url,
            ready=self._ready,
            published=self.bells.published.ring,
        )
        return create_app(services)


def _refuse_reserved(config: Config) -> None:
    """Refuse settings that this version has no use for, rather than let somebody believe in them."""
    reserved = {
        "auth.jwks_url": (config.auth.jwks_url, "set auth.public_key_file to the issuer's PEM file"),
        "events.schemas": (config.events.schemas, "check data before it is published"),
        "metrics.bind": (config.metrics.bind, "ask /health/ready on the API's address"),
    }
    for key, (value, remedy) in reserved.items():
        if value:
            raise StartError(f"{key} is reserved for a later version: leave it empty, and {remedy}")


def _key_source(config: Config, token_key: bytes) -> KeySource:
    """Return the keys for tokens. Error: ValueError."""
    auth = config.auth
    source: KeySource = PublicKey(token_key) if auth.public_key_file else SecretKey(token_key)
    if not any(source.serves(algorithm) for algorithm in auth.algorithms):
        file = Path(auth.public_key_file or auth.secret_file)
        raise ValueError(
            f"the key in {file} serves none of auth.algorithms ({', '.join(auth.algorithms)}): name the"
            " algorithm that the issuer signs with"
        )
    return source


async def check_master_key(connection: Connection, database: Database, vault: Vault) -> None:
    """Open one stored secret, so that a wrong master key shows at the start. Error: `VaultError`."""
    row = await connection.fetchrow(database.sql("newest_secret"))
    if row is not None:
        subscription: UUID = row["subscription_id"]
        vault.decrypt(row["ciphertext"], subscription)
