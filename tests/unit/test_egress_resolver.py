import threading
from ipaddress import IPv6Address, ip_address

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.errors import EgressError
from daemon.egress.guard import Guard
from daemon.egress.nameserver import parse_nameserver
from daemon.egress.resolver import ThreadedResolver, system_lookup
from tests.support.egress_harness import FakeResolver


class Lookups:
    """A blocking lookup that a test can hold up by name; it counts what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.fails = False

    def hold(self, host: str) -> threading.Event:
        return self.held.setdefault(host, threading.Event())

    def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host in self.held and not self.held[host].wait(30):
            raise AssertionError("never let go")
        if self.fails:
            raise EgressError("dns_failed", "There is no such name.")
        return [ip_address("192.0.2.1")]


async def test_ip_literals_are_not_looked_up() -> None:
    lookups = Lookups()
    resolver = ThreadedResolver(lookups)
    assert await resolver.resolve("10.0.0.1", 80) == [ip_address("10.0.0.1")]
    assert await resolver.resolve("::1", 80) == [ip_address("::1")]
    assert lookups.asked == []


async def test_answers_are_remembered_for_their_lifetime(mock_clock: MockClock) -> None:
    lookups = Lookups()
    resolver = ThreadedResolver(lookups, lifetime=30)
    await resolver.resolve("a.test", 80)
    mock_clock.jump(29)
    await resolver.resolve("a.test", 443)
    assert lookups.asked == ["a.test"]
    mock_clock.jump(2)
    await resolver.resolve("a.test", 80)
    assert lookups.asked == ["a.test", "a.test"]


async def test_failures_are_remembered_for_less_and_raised_anew(mock_clock: MockClock) -> None:
    lookups = Lookups()
    lookups.fails = True
    resolver = ThreadedResolver(lookups, failure_lifetime=3)
    errors = []
    for _ in range(2):
        with pytest.raises(EgressError) as caught:
            await resolver.resolve("a.test", 80)
        errors.append(caught.value)
    assert [error.code for error in errors] == ["dns_failed", "dns_failed"]
    assert errors[0] is not errors[1]
    assert lookups.asked == ["a.test"]
    lookups.fails = False
    mock_clock.jump(4)
    assert await resolver.resolve("a.test", 80)


async def test_an_expired_answer_is_not_served_when_the_lookup_fails(mock_clock: MockClock) -> None:
    lookups = Lookups()
    resolver = ThreadedResolver(lookups, lifetime=30)
    await resolver.resolve("a.test", 80)
    mock_clock.jump(31)
    lookups.fails = True
    with pytest.raises(EgressError):
        await resolver.resolve("a.test", 80)


async def test_one_lookup_serves_all_who_ask_for_the_name() -> None:
    lookups = Lookups()
    release = lookups.hold("a.test")
    resolver = ThreadedResolver(lookups)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(resolver.resolve, "a.test", 80)
        await wait_all_tasks_blocked()
        release.set()
    assert lookups.asked == ["a.test"]


async def test_a_slow_name_holds_one_thread_and_others_go_on() -> None:
    lookups = Lookups()
    release = lookups.hold("slow.test")
    resolver = ThreadedResolver(lookups, threads=2)
    for _ in range(5):  # each gives up, the thread stays busy
        with trio.move_on_after(0.01):
            await resolver.resolve("slow.test", 80)
    try:
        with trio.fail_after(5):
            assert await resolver.resolve("good.test", 80)
    finally:
        release.set()
    assert lookups.asked == ["slow.test", "good.test"]


async def test_lookups_beyond_the_threads_wait_and_the_abandoned_are_dropped() -> None:
    lookups = Lookups()
    release = lookups.hold("slow.test")
    resolver = ThreadedResolver(lookups, threads=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.resolve, "slow.test", 80)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await resolver.resolve("abandoned.test", 80)
        nursery.start_soon(resolver.resolve, "patient.test", 80)
        await wait_all_tasks_blocked()
        assert lookups.asked == ["slow.test"]
        release.set()
    assert lookups.asked == ["slow.test", "patient.test"]
    assert await resolver.resolve("abandoned.test", 80)  # it can be asked for again


async def test_the_memory_is_bounded() -> None:
    lookups = Lookups()
    resolver = ThreadedResolver(lookups, max_names=2)
    for host in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
        await resolver.resolve(host, 80)
    assert lookups.asked == ["a.test", "b.test", "c.test", "a.test"]


@pytest.mark.parametrize("found", [[], ValueError("boom"), OSError("boom")])
async def test_anything_but_addresses_fails_closed(found: list[Address] | Exception) -> None:
    def lookup(host: str) -> list[Address]:
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(EgressError) as caught:
        await ThreadedResolver(lookup).resolve("a.test", 80)
    assert caught.value.code == "dns_failed"


def test_the_system_resolver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: None, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("192.0.2.1", 0)), (10, 1, 6, "", ("fe80::1%lo", 0, 0, 1))]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    assert system_lookup("a.test") == [ip_address("192.0.2.1"), IPv6Address("fe80::1%1")]


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
def test_the_system_resolver_fails_closed(host: str) -> None:
    with pytest.raises(EgressError) as caught:
        system_lookup(host)
    assert caught.value.code == "dns_failed"


async def test_the_guard_gives_all_addresses_if_all_are_good() -> None:
    guard = Guard(FakeResolver(["8.8.8.8", "2606:4700::1"]), AddressRules())
    assert await guard.addresses("a.test", 443) == [ip_address("8.8.8.8"), ip_address("2606:4700::1")]


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
        await Guard(FakeResolver(addresses), AddressRules(), told.append).addresses("a.test", 443)
    assert (caught.value.code, caught.value.rule) == ("address_forbidden", rule)
    assert told == [rule]
    assert rule in str(caught.value.note)
    assert not any(word in str(caught.value) for word in [rule, *addresses])
    with pytest.raises(EgressError) as unknown:
        await Guard(FakeResolver([]), AddressRules()).addresses("b.test", 443)
    # Whether a name exists inside must not be told from what is said of it.
    assert str(unknown.value) == str(caught.value)
    assert (unknown.value.fault, unknown.value.phases) == (caught.value.fault, caught.value.phases)


async def test_the_guard_fails_closed() -> None:
    for answer, code in ((EgressError("dns_failed", "No."), "dns_failed"), ([], "address_forbidden")):
        with pytest.raises(EgressError) as caught:
            await Guard(FakeResolver(answer), AddressRules(allow=["0.0.0.0/0"])).addresses("a.test", 443)
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
    assert parse_nameserver(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dns.test", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:x", "[::1]:65536", "[::1]5"]
)
def test_other_nameservers_are_refused_with_the_setting_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"egress\.resolver"):
        parse_nameserver(text)
