"""Which of a host's addresses are tried when, by Trio's mock clock."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
import trio
from trio.testing import MockClock

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Fault
from daemon.egress.happy_eyeballs import MAX_ADDRESSES, FirstAddresses, connect_first
from daemon.egress.url import Origin

GOOD, DEAD, REFUSED = "good", "dead", "refused"
ORIGIN = Origin("https", "a.test", 443)


def addresses(count: int) -> list[Address]:
    return [ip_address(f"192.0.2.{number}") for number in range(1, count + 1)]


class Network:
    """What each address does when it is connected to, and when that was: a script for `connect`."""

    def __init__(self, *script: str | float | EgressError) -> None:
        self.addresses = addresses(len(script))
        self._script = dict(zip(self.addresses, script, strict=True))
        self.began: list[tuple[int, float]] = []
        self.open: list[socket.socket] = []
        self.under_way = self.most = 0
        self._start = trio.current_time()

    async def connect(self, address: Address) -> socket.socket:
        does = self._script[address]
        self.began.append((self.addresses.index(address) + 1, round(trio.current_time() - self._start, 3)))
        await trio.lowlevel.checkpoint()  # one that gives way ends in the same turn of the loop
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if isinstance(does, EgressError):
                raise does
            if does == REFUSED:
                raise EgressError("connect_refused", "No.")
            if does == DEAD:
                await trio.sleep(5)
                raise EgressError("connect_timeout", "Nothing.")
            await trio.sleep(does if isinstance(does, float) else 0.01)
        finally:
            self.under_way -= 1
        sock = socket.socket()
        self.open.append(sock)
        return sock

    async def first(self) -> int:
        address, sock = await connect_first(self.addresses, self.connect)
        self.took = round(trio.current_time() - self._start, 3)
        sock.close()
        assert all(one.fileno() == -1 for one in self.open), "a connection that was not taken is open"
        return self.addresses.index(address) + 1


@pytest.mark.parametrize(
    "script, taken, took",
    [
        ([GOOD], 1, 0.01),
        ([GOOD, GOOD], 1, 0.01),
        ([DEAD, GOOD], 2, 0.26),
        ([REFUSED, GOOD], 2, 0.01),
        ([DEAD, DEAD, DEAD, DEAD, GOOD], 5, 1.01),
        ([REFUSED] * 15 + [GOOD], 16, 0.01),
        ([DEAD] * 15 + [GOOD], 16, 3.76),
        ([0.3, GOOD], 2, 0.26),
        ([0.3, DEAD], 1, 0.3),
        ([0.3, 0.3, DEAD], 1, 0.3),
        ([0.9] * 6, 1, 0.9),
        ([1.5] * 6, 3, 2.0),  # the eldest gave way to a fifth, the second to a sixth
        ([DEAD, REFUSED, 0.2], 3, 0.45),
    ],
)
async def test_silence_costs_a_quarter_of_a_second_and_a_refusal_nothing(
    script: Sequence[str | float], taken: int, took: float, autojump_clock: MockClock
) -> None:
    network = Network(*script)
    assert (await network.first(), network.took) == (taken, took)
    assert network.most <= 4


async def test_there_is_an_upper_bound(autojump_clock: MockClock) -> None:
    network = Network(*[DEAD] * MAX_ADDRESSES)
    with pytest.raises(EgressError) as caught:
        await network.first()
    assert caught.value.code == "connect_timeout"
    assert trio.current_time() - network._start == pytest.approx(3.75 + 5)
    assert (network.most, len(network.began)) == (4, MAX_ADDRESSES)


UNREACHABLE = EgressError("connect_failed", "No route.")
SHORTAGE = EgressError("connect_failed", "Too many open files.", fault=Fault.DAEMON)


@pytest.mark.parametrize(
    "script, code, fault",
    [
        ([UNREACHABLE, REFUSED], "connect_refused", Fault.HOST),
        ([UNREACHABLE, DEAD], "connect_timeout", Fault.HOST),
        ([DEAD, REFUSED, UNREACHABLE], "connect_refused", Fault.HOST),
        ([DEAD, SHORTAGE, REFUSED], "connect_failed", Fault.DAEMON),
        ([UNREACHABLE, UNREACHABLE], "connect_failed", Fault.HOST),
    ],
)
async def test_of_many_failures_the_most_telling_one_is_told(
    script: Sequence[str | EgressError], code: str, fault: Fault, autojump_clock: MockClock
) -> None:
    with pytest.raises(EgressError) as caught:
        await Network(*script).first()
    assert (caught.value.code, caught.value.fault) == (code, fault)


async def test_two_that_stand_in_the_same_moment_leave_one(autojump_clock: MockClock) -> None:
    network = Network(0.5, 0.25, DEAD)
    assert await network.first() in (1, 2)


async def test_a_cancelled_one_is_cancelled_plainly_and_leaves_nothing(autojump_clock: MockClock) -> None:
    network = Network(DEAD, DEAD, GOOD)
    with trio.move_on_after(0.3) as scope:
        with pytest.raises(trio.Cancelled):
            await network.first()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert network.under_way == 0


def test_what_worked_goes_first_from_then_on() -> None:
    first, (one, two, three) = FirstAddresses(), addresses(3)
    assert list(first.order(ORIGIN, [one, two, three])) == [one, two, three]
    first.worked(ORIGIN, two)
    assert list(first.order(ORIGIN, [one, two, three])) == [two, one, three]
    assert list(first.order(ORIGIN._replace(port=444), [one, two])) == [one, two]
    # Only ever what the guard has allowed now.
    assert list(first.order(ORIGIN, [one, three])) == [one, three]
    first.forget(ORIGIN)
    assert list(first.order(ORIGIN, [one, two, three])) == [one, two, three]


def test_what_stands_but_is_of_no_use_goes_last() -> None:
    first, (one, two, three) = FirstAddresses(), addresses(3)
    first.failed(ORIGIN, one, [one, two, three])
    assert first.order(ORIGIN, [one, two, three])[0] == two
    first.failed(ORIGIN, three, [one, two, three])
    assert first.order(ORIGIN, [one, two, three])[0] == one


def test_the_memory_and_the_addresses_are_bounded() -> None:
    first, many = FirstAddresses(max_origins=2), addresses(200)
    for port in (1, 2, 1, 3):
        first.worked(ORIGIN._replace(port=port), many[150])
    ordered = [first.order(ORIGIN._replace(port=port), many) for port in (1, 2, 3)]
    assert [one[0] for one in ordered] == [many[150], many[0], many[150]]
    assert [len(one) for one in ordered] == [MAX_ADDRESSES] * 3
