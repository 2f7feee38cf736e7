"""Putting the parts of outgoing HTTP together from plain settings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from daemon.egress.addresses import AddressRules
from daemon.egress.dialer import Dialer
from daemon.egress.exchange import Exchange
from daemon.egress.guard import Guard
from daemon.egress.name_lookup import NameLookup
from daemon.egress.nameserver import Nameserver, parse_nameserver
from daemon.egress.pool import Pool
from daemon.egress.proxy import Proxy
from daemon.egress.proxy_health import ProxyHealth
from daemon.egress.resolver import CachingResolver, Lookup
from daemon.egress.source import parse_sources
from daemon.egress.system_names import SystemLookup
from daemon.egress.tls import client_context
from daemon.egress.tunnels import Tunnels

CONNECT_TIMEOUT = 5.0
"""Seconds of each attempt to connect, of the TLS handshake, and of waiting for a proxy's answer."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where requests may go, and by which way.

    `resolver` is "system" or a nameserver's "IP" or "IP:port"; `ca_file` "": the system's authorities.
    """

    allow_networks: Iterable[str] = ()
    deny_networks: Iterable[str] = ()
    ca_file: str = ""
    resolver: str = "system"
    source_address: Iterable[str] = ()
    proxy: Proxy | None = None


def make_exchange(
    network: NetworkSettings,
    *,
    pool: Pool,
    max_response: int = 64 * 1024,
    excerpt: int = 4 * 1024,
    proxy_health: ProxyHealth | None = None,
    refused: Callable[[str], None] = lambda rule: None,
) -> Exchange:
    """Return an Exchange for these settings; raise ValueError, naming the setting, if one cannot be used.

    `refused` is told the rule of every refused address, `proxy_health` of what becomes of tunnels through the
    proxy. The caller runs `Exchange.serve`, which closes the pool when it is cancelled.
    """
    resolver, proxy = network.resolver, network.proxy
    lookup: Lookup = SystemLookup() if resolver == "system" else _one(parse_nameserver(resolver))
    try:
        rules = AddressRules(network.allow_networks, network.deny_networks)
    except ValueError as error:
        raise ValueError(
            f'egress.allow_networks and egress.deny_networks take networks as in "10.1.0.0/16": {error}'
        ) from error
    names = CachingResolver(lookup)
    guard = Guard(names, rules, refused)
    sources = parse_sources(network.source_address)
    tunnels = None
    if proxy is not None:
        health = proxy_health or ProxyHealth(proxy.host)
        tunnels = Tunnels(
            proxy, guard=guard, resolver=names, sources=sources, health=health, timeout=CONNECT_TIMEOUT
        )
    dialer = Dialer(
        guard=guard,
        ssl_context=client_context(network.ca_file),
        connect_timeout=CONNECT_TIMEOUT,
        sources=sources,
        tunnels=tunnels,
    )
    return Exchange(dialer=dialer, pool=pool, max_response=max_response, excerpt=excerpt)


def _one(nameserver: Nameserver) -> NameLookup:
    async def servers() -> Sequence[Nameserver]:
        return [nameserver]

    return NameLookup(servers)
