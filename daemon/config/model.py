"""The whole configuration. Each section's keys, defaults and limits are in `sections/`; durations are seconds
here, sizes bytes.

An attribute's path is its key in config.toml: `config.delivery.timeout` is `timeout` in `[delivery]`.
"""

from daemon.config.sections.api import ApiConfig
from daemon.config.sections.auth import AuthConfig
from daemon.config.sections.base import Section
from daemon.config.sections.daemon import DaemonConfig
from daemon.config.sections.database import DatabaseConfig
from daemon.config.sections.delivery import DeliveryConfig
from daemon.config.sections.egress import EgressConfig
from daemon.config.sections.events import EventsConfig
from daemon.config.sections.hosts import HostsConfig
from daemon.config.sections.logging import LoggingConfig
from daemon.config.sections.metrics import MetricsConfig
from daemon.config.sections.retention import RetentionConfig
from daemon.config.sections.signing import SigningConfig
from daemon.config.sections.state import StateConfig


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
