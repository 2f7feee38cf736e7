"""Putting the parts of outgoing HTTP together from plain settings."""

from collections.abc import Callable, Iterable, Sequence

from daemon.egress.addresses import AddressRules
from daemon.egress.exchange import Exchange
from daemon.egress.guard import Guard
from daemon.egress.lookup import NameLookup
from daemon.egress.nameserver import Nameserver, parse_nameserver
from daemon.egress.pool import Pool
from daemon.egress.resolver import CachingResolver, Lookup
from daemon.egress.system_names import SystemLookup
from daemon.egress.tls import client_context


def make_exchange(
    *,
    pool: Pool,
    allow_networks: Iterable[str] = (),
    deny_networks: Iterable[str] = (),
    ca_file: str = "",
    resolver: str = "system",
    max_response: int = 64 * 1024,
    excerpt: int = 4 * 1024,
    refused: Callable[[str], None] = lambda rule: None,
) -> Exchange:
    """Return an Exchange for these settings; raise ValueError, naming the setting, if one cannot be used.

    `resolver` is "system" or a nameserver's "IP" or "IP:port". `refused` is told the rule of every refused
    address. The caller runs `Exchange.serve`, which closes the pool when it is cancelled.
    """
    lookup: Lookup = SystemLookup() if resolver == "system" else _one(parse_nameserver(resolver))
    try:
        rules = AddressRules(allow_networks, deny_networks)
    except ValueError as error:
        raise ValueError(
            f'egress.allow_networks and egress.deny_networks take networks as in "10.1.0.0/16": {error}'
        ) from error
    return Exchange(
        guard=Guard(CachingResolver(lookup), rules, refused),
        ssl_context=client_context(ca_file),
        pool=pool,
        max_response=max_response,
        excerpt=excerpt,
    )


def _one(nameserver: Nameserver) -> NameLookup:
    async def servers() -> Sequence[Nameserver]:
        return [nameserver]

    return NameLookup(servers)
