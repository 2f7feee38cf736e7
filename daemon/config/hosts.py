"""Limits of a receiver's host: the first override whose pattern matches, else the defaults of `[hosts]`."""

from dataclasses import dataclass

from daemon.config.host_patterns import matches
from daemon.config.sections.hosts import HostsConfig


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What one host is held to, across all daemons on the database."""

    rate: float
    """Requests a second."""
    burst: float
    """Requests at once after a quiet time."""
    in_flight: int
    """Requests under way at once."""


def host_settings(hosts: HostsConfig, host_key: str) -> HostSettings:
    """Return the limits of a host, "https://example.com:443"; a key that its override lacks falls back."""
    chosen = next((override for override in hosts.override if matches(override.match, host_key)), None)
    if chosen is None:
        return HostSettings(hosts.rate, hosts.burst, hosts.in_flight)
    return HostSettings(
        rate=hosts.rate if chosen.rate is None else chosen.rate,
        burst=hosts.burst if chosen.burst is None else chosen.burst,
        in_flight=hosts.in_flight if chosen.in_flight is None else chosen.in_flight,
    )
