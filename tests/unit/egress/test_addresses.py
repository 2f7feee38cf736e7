from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.egress.addresses import FORBIDDEN, AddressRules, Network, embedded_ipv4

RULES = AddressRules()
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]

FORBIDDEN_EXAMPLES = [
    ("0.0.0.0", "this_network"),
    ("0.1.2.3", "this_network"),
    ("10.255.255.255", "private"),
    ("100.64.0.1", "shared"),
    ("100.100.100.200", "shared"),  # metadata service of a cloud
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "cloud_metadata"),
    ("169.254.169.254", "cloud_metadata"),
    ("169.254.170.2", "link_local"),  # credentials of a container
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.192", "ietf_protocol"),
    ("192.0.2.1", "documentation"),
    ("192.31.196.1", "as112"),
    ("192.52.193.1", "amt"),
    ("192.88.99.1", "6to4_relay"),
    ("192.168.1.1", "private"),
    ("192.175.48.1", "as112"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("64:ff9b:1::808:808", "nat64_local"),
    ("100::1", "discard"),
    ("100:0:0:1::1", "dummy"),
    ("2001:2::1", "benchmarking"),
    ("2001:1f::1", "orchid"),
    ("2001:2f::1", "orchid"),
    ("2001:3f::1", "drone_id"),
    ("2001:1ff::1", "ietf_protocol"),
    ("2001:db8::1", "documentation"),
    ("3fff:fff::1", "documentation"),
    ("2620:4f:8000::1", "as112"),
    ("3ffe::1", "6bone"),
    ("5f00::1", "srv6_sids"),
    ("fd00:ec2::254", "cloud_metadata"),
    ("fc00::1", "unique_local"),
    ("fdff::1", "unique_local"),
    ("fe80::1", "link_local"),
    ("fec0::1", "site_local"),
    ("ff02::1", "multicast"),
    ("4000::1", "not_global_unicast"),
    ("1fff::1", "not_global_unicast"),
    ("::2:0:0:1", "not_global_unicast"),
    # IPv4 inside IPv6, forbidden for the sake of the IPv4 address ...
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:a9fe:a9fe", "cloud_metadata"),
    ("::127.0.0.1", "loopback"),
    ("::ffff:0:10.0.0.1", "private"),
    ("64:ff9b::10.0.0.1", "private"),
    ("64:ff9b::169.254.169.254", "cloud_metadata"),
    ("64:ff9b:1::10.0.0.1", "private"),
    ("2002:7f00:1::", "loopback"),
    ("2002:c0a8:101::1", "private"),
    ("2001:0:7f00:1::f7f7:f7f7", "loopback"),  # Teredo's server
    ("2001:0:808:808::80ff:fffe", "loopback"),  # Teredo's client, 127.0.0.1 with every bit turned
    ("2606:4700::5efe:10.0.0.1", "private"),  # ISATAP
    ("2606:4700::200:5efe:10.0.0.1", "private"),
    # ... and for the sake of the way it is wrapped
    ("::8.8.8.8", "ipv4_compatible"),
    ("::ffff:0:8.8.8.8", "ipv4_translated"),
    ("2002:808:808::1", "6to4"),
    ("2001:0:808:808::f7f7:f7f7", "teredo"),
    # A scope names one of our own interfaces
    ("fe80::1%eth0", "scope_id"),
    ("2606:4700:4700::1111%1", "scope_id"),
]

ipv4 = st.builds(IPv4Address, st.integers(0, 2**32 - 1))
ipv6 = st.builds(IPv6Address, st.integers(0, 2**128 - 1))


def wrappings(inner: IPv4Address) -> dict[str, IPv6Address]:
    value = int(inner)
    return {
        "mapped": IPv6Address(0xFFFF << 32 | value),
        "compatible": IPv6Address(value),
        "translated": IPv6Address(0xFFFF << 48 | value),
        "nat64": IPv6Address(0x64FF9B << 96 | value),
        "nat64 local": IPv6Address(0x64FF9B0001 << 80 | value),
        "6to4": IPv6Address(0x2002 << 112 | value << 80 | 0x1),
        "teredo server": IPv6Address(0x20010000 << 96 | value << 64 | 0xF7F7F7F7),
        "teredo client": IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | value ^ 0xFFFFFFFF),
        "isatap": IPv6Address(0x20014860 << 96 | 0x5EFE << 32 | value),
    }


@pytest.mark.parametrize("text", [*PUBLIC, "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_allowed(text: str) -> None:
    assert RULES.refusal(ip_address(text)) is None


@pytest.mark.parametrize(("text", "rule"), FORBIDDEN_EXAMPLES)
def test_special_addresses_are_refused_by_name(text: str, rule: str) -> None:
    assert RULES.refusal(ip_address(text)) == rule


@pytest.mark.parametrize("network", [network for _, network in FORBIDDEN], ids=str)
def test_each_network_is_refused_from_its_first_to_its_last_address(network: Network) -> None:
    assert RULES.refusal(network.network_address) is not None
    assert RULES.refusal(network.broadcast_address) is not None


@given(ipv4)
def test_a_forbidden_ipv4_address_is_refused_in_every_wrapping(inner: IPv4Address) -> None:
    if RULES.refusal(inner) is None:
        return
    for name, outer in wrappings(inner).items():
        assert RULES.refusal(outer) is not None, name


@given(ipv4)
def test_every_wrapping_is_seen_through(inner: IPv4Address) -> None:
    for name, outer in wrappings(inner).items():
        assert int(outer) <= 1 or inner in embedded_ipv4(outer), name


@given(ipv6)
def test_ipv6_outside_global_unicast_is_refused(address: IPv6Address) -> None:
    stands_for_ipv4 = int(address) >> 32 in (0xFFFF, 0x64FF9B << 64)
    assert int(address) >> 125 == 1 or stands_for_ipv4 or RULES.refusal(address) is not None


@given(st.one_of(ipv4, ipv6))
def test_deny_beats_allow_and_the_lack_of_a_rule(address: IPv4Address | IPv6Address) -> None:
    everything = ["0.0.0.0/0", "::/0"]
    assert AddressRules(allow=everything).refusal(address) is None
    assert AddressRules(allow=everything, deny=everything).refusal(address) == "denied"
    assert AddressRules(deny=[f"{address}/{address.max_prefixlen}"]).refusal(address) == "denied"


def test_allow_beats_the_table_for_what_it_covers_only() -> None:
    rules = AddressRules(allow=["10.1.0.0/16", "fd12::/16", "::1/128"])
    for text in ("10.1.2.3", "fd12::5", "::1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "8.8.8.8"):
        assert rules.refusal(ip_address(text)) is None, text
    for text in ("10.2.0.1", "fd13::5", "::ffff:10.2.0.1", "::10.1.2.3", "2002:a01:203::1"):
        assert rules.refusal(ip_address(text)) is not None, text


def test_an_allowed_wrapping_does_not_allow_what_is_in_it() -> None:
    rules = AddressRules(allow=["64:ff9b:1::/48", "2002::/16"])
    assert rules.refusal(ip_address("64:ff9b:1::8.8.8.8")) is None
    assert rules.refusal(ip_address("64:ff9b:1::127.0.0.1")) == "loopback"
    assert rules.refusal(ip_address("2002:7f00:1::1")) == "loopback"


def test_deny_reaches_into_wrappings() -> None:
    rules = AddressRules(deny=["8.8.0.0/16"])
    for outer in wrappings(IPv4Address("8.8.8.8")).values():
        assert rules.refusal(outer) == "denied"


def test_a_network_with_host_bits_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits"):
        AddressRules(allow=["10.0.0.1/8"])
