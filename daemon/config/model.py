"""The configuration's keys, their defaults and limits. Durations are seconds here, sizes bytes.

An attribute's path is its key in config.toml: `config.delivery.timeout` is `timeout` in `[delivery]`.
"""

import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from daemon.config import checks
from daemon.config.database_url import check_database_url
from daemon.config.host_patterns import check_pattern
from daemon.config.kinds import Choice, Duration, Number, Size, Switch, Text, Whole
from daemon.config.masking import mask_url
from daemon.config.proxy_url import check_proxy

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]

_EVENT_TYPES = (
    "placement.created",
    "placement.updated",
    "attestation.issued",
    "attestation.revoked",
    "match.proposed",
    "match.accepted",
    "match.declined",
)
_MINUTE, _HOUR, _DAY, _KIB, _MIB = 60.0, 3_600.0, 86_400.0, 1024, 1024**2
_RETRY_SCHEDULE = (5.0, 5 * _MINUTE, 30 * _MINUTE, *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)))

_SOME = AfterValidator(checks.some)
_Algorithm = Annotated[
    Literal["HS256", "RS256", "ES256", "EdDSA"], Choice("HS256", "RS256", "ES256", "EdDSA")
]
_EventType = Annotated[str, Text(checks.event_type)]
_Network = Annotated[str, Text(checks.network)]
_Path = Annotated[str, Text()]
_Wait = Annotated[float, Duration("1ms", "30d")]


class ConfigConflict(ValueError):
    """Settings that are good by themselves but not together; `key` is the one to look at first."""

    def __init__(self, key: str, complaint: str) -> None:
        super().__init__(complaint)
        self.key = key


def _refuse_repeated(key: str, values: Iterable[str]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise ConfigConflict(key, f'names "{value}" {count} times: keep one')


class Section(BaseModel):
    """Base of all sections: cannot be changed, and knows no other keys than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiConfig(Section):
    """`[api]`: the REST API's server."""

    bind: Annotated[str, Text(checks.bind_address)] = "127.0.0.1:8080"
    """Address to listen on: "host:port" (0: any free port), "[v6]:port" or "unix:/path"."""
    max_connections: Annotated[int, Whole(1, 100_000)] = 1000
    """Connections at once; for a further one, the client that keeps us waiting longest gives way."""
    max_body: Annotated[int, Size("1KiB", "1GiB")] = 8 * _MIB
    """Bytes of one request's body."""
    max_batch: Annotated[int, Whole(1, 100_000)] = 1000
    """Events in one request."""
    max_in_hand: Annotated[int, Size("1KiB", "64GiB")] = 64 * _MIB
    """Bytes of bodies and answers in memory at a time; a request for which there is no room is refused."""
    max_in_hand_per_organisation: Annotated[int, Size("1KiB", "64GiB")] = 16 * _MIB
    """How many of these may be one organisation's; for the role `platform` only `max_in_hand` counts."""
    idle_timeout: Annotated[float, Duration("10ms", "1h")] = _MINUTE
    """Seconds that a connection may stay open between requests."""
    read_timeout: Annotated[float, Duration("10ms", "1h")] = 30.0
    """Seconds that a request may be waited for in all; at 16 KiB/s or more it may take longer."""
    write_timeout: Annotated[float, Duration("10ms", "1h")] = 30.0
    """Seconds that a client may let a response wait; at 16 KiB/s or more it may take longer."""
    subscriptions_per_organisation: Annotated[int, Whole(1, 1_000_000)] = 10_000
    """Subscriptions that one organisation may have."""
    rate: Annotated[float, Number(0, 1_000_000)] = 1000.0
    """Requests a second of one organisation to this daemon; 0: no limit. The role `platform` has none."""
    burst: Annotated[float, Number(1, 1_000_000)] = 2000.0
    """Requests at once of an organisation that has been quiet."""
    cors_origins: tuple[Annotated[str, Text(checks.cors_origin)], ...] = ()
    """Origins whose pages may use the API, such as "https://app.example.com", or "*" alone; empty: none."""
    drain_timeout: Annotated[float, Duration("0s", "1h")] = 10.0
    """Seconds that requests under way get at stop, within daemon.stop_timeout."""

    @model_validator(mode="after")
    def _a_body_fits(self) -> Self:
        if self.max_body > self.max_in_hand_per_organisation:
            raise ConfigConflict("max_in_hand_per_organisation", "is less than api.max_body: one must fit")
        if self.max_in_hand_per_organisation > self.max_in_hand:
            raise ConfigConflict("max_in_hand", "is less than api.max_in_hand_per_organisation: raise it")
        return self

    @model_validator(mode="after")
    def _origins_fit(self) -> Self:
        _refuse_repeated("cors_origins", self.cors_origins)
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ConfigConflict("cors_origins", 'has "*" beside others: keep "*" alone, or leave it out')
        return self


class AuthConfig(Section):
    """`[auth]`: bearer tokens."""

    algorithms: Annotated[tuple[_Algorithm, ...], _SOME] = ("HS256",)
    """Signature algorithms that are accepted."""
    secret_file: _Path = ""
    """File with the HS256 secret; "": made on first start in the state directory."""
    public_key_file: _Path = ""
    """PEM file with the public key of whoever issues tokens."""
    jwks_url: Annotated[str, Text(checks.jwks_url)] = ""
    """URL of the issuer's key set (RFC 7517): https, or http on this machine, whatever [egress] says."""
    jwks_allow_networks: tuple[_Network, ...] = ()
    """Networks that the key set may be read from although they are private or special. An allowance of its
    own: subscriptions' URLs get nothing from it, and it gets nothing from `[egress]`."""
    jwks_refresh: Annotated[float, Duration("1m", "30d")] = 10 * _MINUTE
    """Seconds after which the key set is read again, when a token comes; for an unknown key sooner."""
    issuer: Annotated[str, Text()] = ""
    """Required `iss`; "": not checked."""
    audience: Annotated[str, Text()] = ""
    """Required `aud`; "": not checked."""
    org_claim: Annotated[str, Text(checks.not_empty)] = "org_id"
    """Claim with the organisation's UUID."""
    roles_claim: Annotated[str, Text(checks.not_empty)] = "roles"
    """Claim with the list of roles."""
    leeway: Annotated[float, Duration("0s", "10m")] = 30.0
    """Seconds that clocks may differ when `exp`, `nbf` and `iat` are checked."""

    @model_validator(mode="after")
    def _keys_fit_algorithms(self) -> Self:
        given = [key for key in ("secret_file", "public_key_file", "jwks_url") if getattr(self, key)]
        if len(given) > 1:
            raise ConfigConflict(
                given[1], f"cannot be set beside auth.{given[0]}: keep one and empty the other"
            )
        _refuse_repeated("algorithms", self.algorithms)
        # A public key accepted as an HS256 secret lets anybody sign (RFC 8725 section 2.1).
        if "HS256" in self.algorithms and given in (["public_key_file"], ["jwks_url"]):
            raise ConfigConflict("algorithms", f'cannot have "HS256" with auth.{given[0]}: leave it out')
        asymmetric = [name for name in self.algorithms if name != "HS256"]
        if asymmetric and given in ([], ["secret_file"]):
            raise ConfigConflict(
                "algorithms",
                f'cannot have "{asymmetric[0]}" without the issuer\'s keys: '
                "set auth.public_key_file or auth.jwks_url instead of a secret",
            )
        return self


with warnings.catch_warnings():
    # BaseModel has a deprecated method `schema`; the key's name is worth more.
    warnings.filterwarnings("ignore", message='Field name "schema"', category=UserWarning)

    class DatabaseConfig(Section):
        """`[database]`: Postgres."""

        url: Annotated[str, Text(check_database_url)] = ""
        """postgresql:// URL; "": the embedded server."""
        password_file: _Path = ""
        """File with the password for the URL, for each of its hosts; "": as the URL says."""
        schema: Annotated[str, Text(checks.schema_name)] = "hookd"  # type: ignore[assignment]
        """Schema that holds everything; one server can hold several."""
        pool_size: Annotated[int, Whole(1, 1000)] = 10
        """Connections to the server, beside the `OWN_CONNECTIONS` of the queue."""
        command_timeout: Annotated[float, Duration("100ms", "1h")] = 30.0
        """Seconds after which a statement is given up."""
        prepared_statements: Annotated[bool, Switch()] = True
        """False behind a pooler that loses them from one transaction to the next."""

        @model_validator(mode="after")
        def _password_fits(self) -> Self:
            if self.password_file and not self.url:
                raise ConfigConflict(
                    "password_file", "is for database.url, which is empty: set that, or leave this out"
                )
            if self.password_file and mask_url(self.url) != self.url:
                raise ConfigConflict(
                    "password_file", "cannot stand beside a password in database.url: take that out"
                )
            return self


class EventsConfig(Section):
    """`[events]`: what may be published."""

    types: Annotated[tuple[_EventType, ...], _SOME] = _EVENT_TYPES
    """Types that may be published and subscribed to."""
    schemas: dict[_EventType, Annotated[str, Text(checks.not_empty)]] = Field(default_factory=dict)
    """Files with the JSON Schemas that event types' data must fit, by type; other types take any data."""
    max_bytes: Annotated[int, Size("16", "64MiB")] = _MIB
    """Bytes of one event's canonical body."""
    max_depth: Annotated[int, Whole(1, 500)] = 64
    """Levels of nesting in one event's data."""
    max_values: Annotated[int, Whole(1, 1_000_000)] = 20_000
    """Values in one event's data; nothing else is done while they are read, for a microsecond each."""

    @model_validator(mode="after")
    def _types_fit(self) -> Self:
        _refuse_repeated("types", self.types)
        for unknown in self.schemas.keys() - set(self.types):
            raise ConfigConflict("schemas", f'names "{unknown}", which is not in events.types: add it there')
        return self


class DeliveryConfig(Section):
    """`[delivery]`: sending, retrying and giving up."""

    concurrency: Annotated[int, Whole(1, 100_000)] = 512
    """Requests under way at once in one daemon."""
    timeout: Annotated[float, Duration("10ms", "10m")] = 15.0
    """Seconds for one attempt, from looking up the name to the end of the response."""
    retry_schedule: Annotated[tuple[_Wait, ...], Field(max_length=100), _SOME] = _RETRY_SCHEDULE
    """Seconds to wait after each failed attempt; after the last, the delivery is given up."""
    own_retries: Annotated[int, Whole(0, 100)] = 20
    """Waits that a subscription's own `retry_schedule` may have; 0: none has its own."""
    own_retry_min: Annotated[float, Duration("1ms", "30d")] = 1.0
    """Seconds that each of them has at least."""
    own_retry_total: Annotated[float, Duration("1s", "365d")] = 14 * _DAY
    """Seconds that they have together at most."""
    retry_jitter: Annotated[float, Number(0, 1)] = 0.2
    """Part of each wait by which it is lengthened or shortened at random."""
    disable_after: Annotated[float, Duration("1s", "365d")] = 5 * _DAY
    """Seconds of nothing but failures after which a subscription is disabled."""
    response_excerpt: Annotated[int, Size("0", "1MiB")] = 4 * _KIB
    """Bytes of each response that are kept."""
    max_response: Annotated[int, Size("1", "64MiB")] = 64 * _KIB
    """Bytes of a response that are read at most; headers alone that are longer are a failure."""
    retry_after_max: Annotated[float, Duration("0s", "30d")] = 24 * _HOUR
    """Longest `Retry-After` that is honoured, in seconds."""
    unanswered_share: Annotated[float, Number(0.01, 1)] = 0.25
    """Part of `concurrency` that receivers which do not answer in time may hold together."""
    replay_rate: Annotated[float, Number(0.001, 1_000_000)] = 200.0
    """Deliveries a second that one replay may make, from all daemons on the database together."""


class DaemonConfig(Section):
    """`[daemon]`: the process."""

    stop_timeout: Annotated[float, Duration("100ms", "1h")] = 25.0
    """Seconds that a stop may take in all; systemd's TimeoutStopSec must be longer."""
    processes: Annotated[int, Whole(1, 64)] = 1
    """Daemons that `hookd run` runs behind one address; what holds for one daemon holds for each of them."""


class HostOverride(Section):
    """`[[hosts.override]]`: limits of some hosts; what is not given falls back to `[hosts]`."""

    match: Annotated[str, Text(check_pattern)]
    """Hosts that are meant: "api.example.com", "*.example.com", either with ":port"."""
    rate: Annotated[float, Number(0.001, 1_000_000)] | None = None
    """As in `[hosts]`."""
    burst: Annotated[float, Number(1, 1_000_000)] | None = None
    """As in `[hosts]`."""
    in_flight: Annotated[int, Whole(1, 100_000)] | None = None
    """As in `[hosts]`."""


class HostsConfig(Section):
    """`[hosts]`: limits of each receiver's host, across all daemons on the database."""

    rate: Annotated[float, Number(0.001, 1_000_000)] = 1000.0
    """Requests a second."""
    burst: Annotated[float, Number(1, 1_000_000)] = 1000.0
    """Requests at once after a quiet time."""
    in_flight: Annotated[int, Whole(1, 100_000)] = 64
    """Requests under way at once."""
    override: tuple[HostOverride, ...] = ()
    """Exceptions; the first one that matches a host counts."""

    @model_validator(mode="after")
    def _each_override_counts(self) -> Self:
        _refuse_repeated("override", (override.match for override in self.override))
        return self


class EgressConfig(Section):
    """`[egress]`: where requests may go."""

    https_only: Annotated[bool, Switch()] = True
    """Whether http:// URLs are refused."""
    allow_networks: tuple[_Network, ...] = ()
    """Networks that are allowed although they are private or special, such as "10.1.0.0/16"."""
    deny_networks: tuple[_Network, ...] = ()
    """Networks that are refused besides the private and special ones."""
    ports: tuple[Annotated[int, Whole(1, 65535)], ...] = ()
    """Ports that are allowed; empty: 80, 443 and all from 1024 on."""
    ca_file: _Path = ""
    """PEM bundle of trusted authorities; "": the system's."""
    resolver: Annotated[str, Text(checks.resolver)] = "system"
    """"system", or the address of a name server."""
    proxy: Annotated[str, Text(check_proxy)] = ""
    """HTTP proxy that requests go through (CONNECT): "http://host:port"; "": none."""
    proxy_credentials_file: _Path = ""
    """File with "user:password" for the proxy; "": it wants none."""
    proxy_hosts: tuple[Annotated[str, Text(check_pattern)], ...] = ()
    """Hosts that are sent to through the proxy, as in `[[hosts.override]]`; empty: all."""
    proxy_except: tuple[Annotated[str, Text(check_pattern)], ...] = ()
    """Hosts that are sent to directly all the same."""
    proxy_resolves: Annotated[bool, Switch()] = False
    """Whether the proxy looks names up, so that hookd cannot check the addresses."""
    source_address: tuple[Annotated[str, Text(checks.address)], ...] = ()
    """Addresses of this machine to send from, one IPv4, one IPv6 or both; empty: the system chooses."""

    @model_validator(mode="after")
    def _proxy_fits(self) -> Self:
        for key in ("proxy_credentials_file", "proxy_hosts", "proxy_except", "proxy_resolves"):
            if getattr(self, key) and not self.proxy:
                raise ConfigConflict(key, "is for egress.proxy, which is empty: set that, or leave this out")
        return self

    @model_validator(mode="after")
    def _one_source_of_each_kind(self) -> Self:
        if len({":" in one for one in self.source_address}) < len(self.source_address):
            raise ConfigConflict(
                "source_address", "has two addresses of one kind: keep one IPv4 and one IPv6 address"
            )
        return self


class SigningConfig(Section):
    """`[signing]`: headers and secrets."""

    header_prefix: Annotated[str, Text(checks.header_prefix)] = "X-Alter-"
    """Beginning of the platform's own headers."""
    secret_overlap: Annotated[float, Duration("0s", "30d")] = 24 * _HOUR
    """Seconds for which a rotated secret still signs beside the new one, unless its owner says how long."""
    secret_overlap_max: Annotated[float, Duration("0s", "365d")] = 30 * _DAY
    """The longest that an owner may say."""
    master_key_file: _Path = ""
    """File with the key that encrypts subscriptions' secrets; "": made in the state directory."""

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.secret_overlap > self.secret_overlap_max:
            raise ConfigConflict(
                "secret_overlap", "is longer than signing.secret_overlap_max: shorten it, or raise that"
            )
        return self


class RetentionConfig(Section):
    """`[retention]`: how long things are kept."""

    events: Annotated[float, Duration("1s", "3650d")] = 30 * _DAY
    """Seconds that an event is kept; what is still owed of it then is given up."""
    attempts: Annotated[float, Duration("1s", "3650d")] = 30 * _DAY
    """Seconds that the history of attempts is kept."""


class MetricsConfig(Section):
    """`[metrics]`."""

    bind: Annotated[str, Text(checks.optional_bind_address)] = ""
    """Address that /metrics is served on, and only there, in the form of api.bind; "": on the API's."""


class LoggingConfig(Section):
    """`[logging]`."""

    level: Annotated[LogLevel, Choice("debug", "info", "warning", "error")] = "info"
    """The least important messages that are logged."""
    format: Annotated[LogFormat, Choice("auto", "human", "json")] = "auto"
    """"human" or "json" lines; "auto": human on a terminal."""
    access: Annotated[bool, Switch()] = True
    """Whether each API request has a line; otherwise only those that fail have one."""


class StateConfig(Section):
    """`[state]`."""

    directory: _Path = ""
    """Directory for secrets and the embedded server; "": see `daemon.config.state`."""


class Config(Section):
    """The whole configuration."""

    api: ApiConfig = ApiConfig()
    auth: AuthConfig = AuthConfig()
    database: DatabaseConfig = DatabaseConfig()
    events: EventsConfig = EventsConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    daemon: DaemonConfig = DaemonConfig()
    hosts: HostsConfig = HostsConfig()
    egress: EgressConfig = EgressConfig()
    signing: SigningConfig = SigningConfig()
    retention: RetentionConfig = RetentionConfig()
    metrics: MetricsConfig = MetricsConfig()
    logging: LoggingConfig = LoggingConfig()
    state: StateConfig = StateConfig()


SECTIONS: dict[str, type[Section]] = {name: type(getattr(Config(), name)) for name in Config.model_fields}
"""Each section's model."""
