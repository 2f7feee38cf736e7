"""`[hosts]`: limits of each receiver's host, across all daemons on the database."""

from typing import Annotated, Self

from pydantic import model_validator

from daemon.config.host_patterns import check_pattern
from daemon.config.kinds import Number, Text, Whole
from daemon.config.sections.base import Section, refuse_repeated


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
        refuse_repeated("override", (override.match for override in self.override))
        return self
