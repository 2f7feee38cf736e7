"""`[egress]`: where requests may go."""

from typing import Annotated, Self

from pydantic import model_validator

from daemon.config import checks
from daemon.config.host_patterns import check_pattern
from daemon.config.kinds import Switch, Text, Whole
from daemon.config.proxy_url import check_proxy
from daemon.config.sections.base import ConfigConflict, Network, PathText, Section


class EgressConfig(Section):
    """`[egress]`: where requests may go."""

    https_only: Annotated[bool, Switch()] = True
    """Whether http:// URLs are refused."""
    allow_networks: tuple[Network, ...] = ()
    """Networks that are allowed although they are private or special, such as "10.1.0.0/16"."""
    deny_networks: tuple[Network, ...] = ()
    """Networks that are refused besides the private and special ones."""
    ports: tuple[Annotated[int, Whole(1, 65535)], ...] = ()
    """Ports that are allowed; empty: 80, 443 and all from 1024 on."""
    ca_file: PathText = ""
    """PEM bundle of trusted authorities; "": the system's."""
    resolver: Annotated[str, Text(checks.resolver)] = "system"
    """"system", or the address of a name server."""
    proxy: Annotated[str, Text(check_proxy)] = ""
    """HTTP proxy that requests go through (CONNECT): "http://host:port"; "": none."""
    proxy_credentials_file: PathText = ""
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
