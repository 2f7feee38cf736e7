"""Which IP addresses may be connected to: an explicit table, and the IPv4 addresses hidden in IPv6 ones.

The table follows the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates), with
multicast, the deprecated ranges and the cloud metadata services that live outside them. Python's `is_global`
is not used: it differs between versions, and is wrong for several ranges.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The first match gives its name, so narrower networks stand before wider ones.
_FORBIDDEN_IPV4 = (
    ("broadcast", "255.255.255.255/32"),
    ("this_network", "0.0.0.0/8"),
    ("private", "10.0.0.0/8"),
    ("shared", "100.64.0.0/10"),
    ("loopback", "127.0.0.0/8"),
    ("cloud_metadata", "169.254.169.254/32"),
    ("link_local", "169.254.0.0/16"),
    ("private", "172.16.0.0/12"),
    ("ietf_protocol", "192.0.0.0/24"),
    ("documentation", "192.0.2.0/24"),
    ("as112", "192.31.196.0/24"),
    ("amt", "192.52.193.0/24"),
    ("6to4_relay", "192.88.99.0/24"),
    ("private", "192.168.0.0/16"),
    ("as112", "192.175.48.0/24"),
    ("benchmarking", "198.18.0.0/15"),
    ("documentation", "198.51.100.0/24"),
    ("documentation", "203.0.113.0/24"),
    ("multicast", "224.0.0.0/4"),
    ("reserved", "240.0.0.0/4"),
    # Azure's host agent: a public address that every machine there reaches as its own platform.
    ("cloud_metadata", "168.63.129.16/32"),
)
_FORBIDDEN_IPV6 = (
    ("unspecified", "::/128"),
    ("loopback", "::1/128"),
    ("ipv4_compatible", "::/96"),
    ("ipv4_translated", "::ffff:0:0:0/96"),
    ("nat64_local", "64:ff9b:1::/48"),
    ("discard", "100::/64"),
    ("dummy", "100:0:0:1::/64"),
    ("teredo", "2001::/32"),
    ("benchmarking", "2001:2::/48"),
    ("orchid", "2001:10::/28"),
    ("orchid", "2001:20::/28"),
    ("drone_id", "2001:30::/28"),
    ("ietf_protocol", "2001::/23"),
    ("documentation", "2001:db8::/32"),
    ("6to4", "2002::/16"),
    ("as112", "2620:4f:8000::/48"),
    ("6bone", "3ffe::/16"),
    ("documentation", "3fff::/20"),
    ("srv6_sids", "5f00::/16"),
    ("cloud_metadata", "fd00:ec2::254/128"),
    ("unique_local", "fc00::/7"),
    ("link_local", "fe80::/10"),
    ("site_local", "fec0::/10"),
    ("multicast", "ff00::/8"),
)
FORBIDDEN: tuple[tuple[str, Network], ...] = tuple(
    (rule, ip_network(network)) for rule, network in _FORBIDDEN_IPV4 + _FORBIDDEN_IPV6
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_LOW_32_BITS = tuple(
    IPv6Network(network)
    for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)


def embedded_ipv4(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address carries, so that a packet to it may end at one of them.

    Mapped, compatible (RFC 4291 section 2.5.5), translated (RFC 2765), NAT64 (RFC 6052; RFC 8215), 6to4
    (RFC 3056), Teredo's server and its obscured client (RFC 4380 section 4), ISATAP (RFC 5214 section 6.1).
    """
    if isinstance(address, IPv4Address):
        return []
    value = int(address)
    if value <= 1:  # unspecified and loopback look like compatible addresses, and are none
        return []
    low = IPv4Address(value & 0xFFFFFFFF)
    found = [low] if any(address in network for network in _LOW_32_BITS) else []
    if address in _SIX_TO_FOUR:
        found.append(IPv4Address(value >> 80 & 0xFFFFFFFF))
    if address in _TEREDO:
        found += [IPv4Address(value >> 64 & 0xFFFFFFFF), IPv4Address(~value & 0xFFFFFFFF)]
    if value >> 32 & 0xFDFFFFFF == 0x00005EFE:  # the bit left out says whether the IPv4 address is unique
        found.append(low)
    return found


class AddressRules:
    """Decides whether an address may be connected to: `deny` beats `allow`, and `allow` beats the table."""

    def __init__(self, allow: Iterable[str | Network] = (), deny: Iterable[str | Network] = ()) -> None:
        """Take networks such as "10.1.0.0/16"; raise ValueError for one that is none or has host bits set."""
        self._allow = [ip_network(network) for network in allow]
        self._deny = [ip_network(network) for network in deny]

    def refusal(self, address: Address) -> str | None:
        """Return the name of the rule that forbids `address`, or None if it may be connected to.

        An IPv4 address inside an IPv6 one must itself be allowed. Mapped and NAT64 addresses stand for
        that IPv4 address alone; any other IPv6 address must be global unicast as well, or be in `allow`.
        """
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return "scope_id"
        if _within(address, self._deny):
            return "denied"
        embedded = embedded_ipv4(address)
        for inner in embedded:
            if rule := self._refusal_of_one(inner):
                return rule
        if address in _MAPPED or address in _NAT64:
            return None
        return self._refusal_of_one(address)

    def _refusal_of_one(self, address: Address) -> str | None:
        if _within(address, self._deny):
            return "denied"
        if _within(address, self._allow):
            return None
        for rule, network in FORBIDDEN:
            if address in network:
                return rule
        if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
            return "not_global_unicast"
        return None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
