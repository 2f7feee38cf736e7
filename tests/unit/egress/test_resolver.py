from ipaddress import IPv6Address, ip_address
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.errors import EgressError, Fault
from daemon.egress.guard import Guard
from daemon.egress.nameserver import Nameserver, parse_nameserver
from daemon.egress.resolver import CachingResolver
from daemon.egress.system_names import parse_hosts, parse_resolv_conf
from tests.support.egress_harness import FakeResolver

ORG, OTHER = uuid4(), uuid4()


class Lookups:
    """A look-up that a test can hold up by name; it counts what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: dict[str, trio.Event] = {}
        self.fails = False

    def hold(self, host: str) -> trio.Event:
        return self.held.setdefault(host, trio.Event())

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host in self.held:
            await self.held[host].wait()
        if self.fails:
            raise EgressError("dns_failed", "No nameserver knows.")
        return [ip_address("192.0.2.1")]


async def test_ip_literals_are_not_looked_up() -> None:
    lookups = Lookups()
    resolver = CachingResolver(lookups)
    assert await resolver.resolve("10.0.0.1", ORG) == [ip_address("10.0.0.1")]
    assert await resolver.resolve("::1", ORG) == [ip_address("::1")]
    assert lookups.asked == []


async def test_answers_are_remembered_for_their_lifetime(mock_clock: MockClock) -> None:
    lookups = Lookups()
    resolver = CachingResolver(lookups, lifetime=30)
    await resolver.resolve("a.test", ORG)
    mock_clock.jump(29)
    await resolver.resolve("a.test", OTHER)
    assert lookups.asked == ["a.test"]
    mock_clock.jump(2)
    await resolver.resolve("a.test", ORG)
    assert lookups.asked == ["a.test", "a.test"]


async def test_failures_are_remembered_for_less_and_raised_anew(mock_clock: MockClock) -> None:
    lookups = Lookups()
    lookups.fails = True
    resolver = CachingResolver(lookups, failure_lifetime=3)
    errors = []
    for _ in range(2):
        with pytest.raises(EgressError) as caught:
            await resolver.resolve("a.test", ORG)
        errors.append(caught.value)
    assert [error.code for error in errors] == ["dns_failed", "dns_failed"]
    assert errors[0] is not errors[1]
    assert lookups.asked == ["a.test"]
    lookups.fails = False
    mock_clock.jump(4)
    assert await resolver.resolve("a.test", ORG)


async def test_an_expired_answer_is_not_served_when_the_lookup_fails(mock_clock: MockClock) -> None:
    lookups = Lookups()
    resolver = CachingResolver(lookups, lifetime=30)
    await resolver.resolve("a.test", ORG)
    mock_clock.jump(31)
    lookups.fails = True
    with pytest.raises(EgressError):
        await resolver.resolve("a.test", ORG)


async def test_one_lookup_serves_all_who_ask_for_the_name() -> None:
    lookups = Lookups()
    release = lookups.hold("a.test")
    resolver = CachingResolver(lookups)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(resolver.resolve, "a.test", ORG if number % 2 else OTHER)
        await wait_all_tasks_blocked()
        release.set()
    assert lookups.asked == ["a.test"]


async def test_who_asked_first_and_has_no_time_left_does_not_end_it_for_others() -> None:
    lookups = Lookups()
    release = lookups.hold("a.test")
    resolver = CachingResolver(lookups)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.01):
            await resolver.resolve("a.test", ORG)
        nursery.start_soon(resolver.resolve, "a.test", OTHER)
        await wait_all_tasks_blocked()
        release.set()
    assert lookups.asked == ["a.test"]


async def test_an_organisation_has_its_own_share_and_waits_for_itself_alone() -> None:
    lookups = Lookups()
    for number in range(9):
        lookups.hold(f"{number}.silent.test")
    resolver = CachingResolver(lookups, most_each=2)
    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(resolver.resolve, f"{number}.silent.test", ORG)
            await wait_all_tasks_blocked()
        nursery.start_soon(resolver.resolve, "a.test", ORG)
        await wait_all_tasks_blocked()
        assert lookups.asked == ["0.silent.test", "1.silent.test"]
        # Nor is what waits among those kept from others who ask for it.
        assert await resolver.resolve("b.test", OTHER)
        assert await resolver.resolve("a.test", OTHER)
        lookups.held["0.silent.test"].set()
        await wait_all_tasks_blocked()
        assert lookups.asked[4:] == ["2.silent.test"]
        for event in lookups.held.values():
            event.set()
    assert lookups.asked.count("a.test") == 1, "it was known when its turn came"


async def test_where_all_are_taken_the_one_with_the_fewest_comes_next() -> None:
    lookups = Lookups()
    hosts = [f"{number}.test" for number in range(6)]
    for host in hosts:
        lookups.hold(host)
    resolver = CachingResolver(lookups, most=3, most_each=3)
    async with trio.open_nursery() as nursery:
        for host in hosts[:5]:
            nursery.start_soon(resolver.resolve, host, ORG)
            await wait_all_tasks_blocked()
        nursery.start_soon(resolver.resolve, hosts[5], OTHER)
        await wait_all_tasks_blocked()
        lookups.held["0.test"].set()
        await wait_all_tasks_blocked()
        assert lookups.asked == ["0.test", "1.test", "2.test", "5.test"]
        for event in lookups.held.values():
            event.set()
    assert sorted(lookups.asked) == hosts


async def test_who_waits_for_too_long_is_told_and_holds_nothing(autojump_clock: MockClock) -> None:
    lookups = Lookups()
    silent = lookups.hold("silent.test")
    resolver = CachingResolver(lookups, most=1, patience=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.resolve, "silent.test", ORG)
        await wait_all_tasks_blocked()
        with pytest.raises(EgressError) as caught:
            await resolver.resolve("a.test", ORG)
        assert (caught.value.code, caught.value.fault) == ("dns_timeout", Fault.REQUEST)
        with trio.move_on_after(1):
            await resolver.resolve("a.test", ORG)
        silent.set()
    assert await resolver.resolve("b.test", OTHER)
    assert lookups.asked == ["silent.test", "b.test"]


async def test_the_memory_is_bounded() -> None:
    lookups = Lookups()
    resolver = CachingResolver(lookups, max_names=2)
    for host in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
        await resolver.resolve(host, ORG)
    assert lookups.asked == ["a.test", "b.test", "c.test", "a.test"]


async def test_a_name_without_addresses_is_no_failure_of_the_resolver() -> None:
    async def lookup(host: str) -> list[Address]:
        return []

    assert await CachingResolver(lookup).resolve("a.test", ORG) == []


@pytest.mark.parametrize("error", [ValueError("boom"), OSError("boom")])
async def test_anything_unexpected_fails_closed(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def lookup(host: str) -> list[Address]:
        raise error

    with pytest.raises(EgressError) as caught:
        await CachingResolver(lookup).resolve("a.test", ORG)
    assert caught.value.code == "dns_failed"
    assert "boom" not in caught.value.detail
    assert "failed unexpectedly" in caplog.text


def test_a_hosts_file_is_read_as_the_system_reads_it() -> None:
    text = (
        "# nothing\n127.0.0.1 localhost\n\n192.0.2.1\tA.test. a # b.test\n"
        "fe80::1%lo a\nx y\n192.0.2.2 a.test\n"
    )
    assert parse_hosts(text) == {
        "localhost": [ip_address("127.0.0.1")],
        "a.test": [ip_address("192.0.2.1"), ip_address("192.0.2.2")],
        "a": [ip_address("192.0.2.1"), IPv6Address("fe80::1%lo")],
    }


def test_nameservers_are_read_and_everything_else_is_passed_over() -> None:
    text = (
        "; comment\ndomain a.test\nsearch b.test\nnameserver\nnameserver x\nnameserver 192.0.2.53\n"
        "nameserver fe80::53%lo # ours\noptions ndots:5 rotate\nnameserver ::1\nnameserver 192.0.2.54\n"
    )
    assert parse_resolv_conf(text) == [
        Nameserver(ip_address("192.0.2.53")),
        Nameserver(IPv6Address("fe80::53%lo")),
        Nameserver(ip_address("::1")),
    ]
    assert parse_resolv_conf("") == [Nameserver(ip_address("127.0.0.1"))]


async def test_the_guard_gives_all_addresses_if_all_are_good() -> None:
    guard = Guard(FakeResolver(["8.8.8.8", "2606:4700::1"]), AddressRules())
    assert await guard.addresses("a.test", ORG) == [ip_address("8.8.8.8"), ip_address("2606:4700::1")]


@pytest.mark.parametrize(
    ("addresses", "rule"),
    [
        (["127.0.0.1"], "loopback"),
        (["8.8.8.8", "10.0.0.1"], "private"),
        (["8.8.8.8"] * 50 + ["::ffff:169.254.169.254"], "cloud_metadata"),
        (["fe80::1%1", "8.8.8.8"], "scope_id"),
    ],
)
async def test_the_guard_refuses_the_host_for_one_bad_address(addresses: list[str], rule: str) -> None:
    told: list[str] = []
    with pytest.raises(EgressError) as caught:
        await Guard(FakeResolver(addresses), AddressRules(), told.append).addresses("a.test", ORG)
    assert (caught.value.code, caught.value.rule) == ("address_forbidden", rule)
    assert told == [rule]
    assert rule in str(caught.value.note)
    assert not any(word in str(caught.value) for word in [rule, *addresses])
    with pytest.raises(EgressError) as unknown:
        await Guard(FakeResolver([]), AddressRules()).addresses("b.test", ORG)
    # Whether a name exists inside must not be told from what is said of it.
    assert str(unknown.value) == str(caught.value)
    assert (unknown.value.fault, unknown.value.phases) == (caught.value.fault, caught.value.phases)


async def test_the_guard_fails_closed() -> None:
    for answer, code in ((EgressError("dns_failed", "No."), "dns_failed"), ([], "address_forbidden")):
        with pytest.raises(EgressError) as caught:
            await Guard(FakeResolver(answer), AddressRules(allow=["0.0.0.0/0"])).addresses("a.test", ORG)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_nameservers_are_given_by_address(text: str, expected: tuple[str, int]) -> None:
    assert parse_nameserver(text) == Nameserver(ip_address(expected[0]), expected[1])


@pytest.mark.parametrize(
    "text", ["", "dns.test", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:x", "[::1]:65536", "[::1]5"]
)
def test_other_nameservers_are_refused_with_the_setting_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"egress\.resolver"):
        parse_nameserver(text)
