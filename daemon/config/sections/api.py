"""`[api]`: the REST API's server."""

from typing import Annotated, Self

from pydantic import model_validator

from daemon.config import checks
from daemon.config.kinds import Duration, Number, Size, Text, Whole
from daemon.config.sections.base import MIB, MINUTE, ConfigConflict, Section, refuse_repeated


class ApiConfig(Section):
    """`[api]`: the REST API's server."""

    bind: Annotated[str, Text(checks.bind_address)] = "127.0.0.1:8080"
    """Address to listen on: "host:port" (0: any free port), "[v6]:port" or "unix:/path"."""
    max_connections: Annotated[int, Whole(1, 100_000)] = 1000
    """Connections at once; for a further one, the client that keeps us waiting longest gives way."""
    max_body: Annotated[int, Size("1KiB", "1GiB")] = 8 * MIB
    """Bytes of one request's body."""
    max_batch: Annotated[int, Whole(1, 100_000)] = 1000
    """Events in one request."""
    max_in_hand: Annotated[int, Size("1KiB", "64GiB")] = 64 * MIB
    """Bytes of bodies and answers in memory at a time; a request for which there is no room is refused."""
    max_in_hand_per_organisation: Annotated[int, Size("1KiB", "64GiB")] = 16 * MIB
    """How many of these may be one organisation's; for the role `platform` only `max_in_hand` counts."""
    idle_timeout: Annotated[float, Duration("10ms", "1h")] = MINUTE
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
        refuse_repeated("cors_origins", self.cors_origins)
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ConfigConflict("cors_origins", 'has "*" beside others: keep "*" alone, or leave it out')
        return self
