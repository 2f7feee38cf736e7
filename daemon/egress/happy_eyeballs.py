"""Connecting to a host of several addresses: one after another, without waiting for what does not answer.

RFC 8305 sections 4 and 5: a new attempt begins when the one before it has failed, or has been silent for a
quarter of a second; the first connection that stands is taken, and the others are given up.
"""

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from socket import socket

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Fault
from daemon.egress.url import Origin

STAGGER = 0.25
"""Seconds that an attempt has for itself (RFC 8305 section 8: Connection Attempt Delay)."""
MAX_ADDRESSES = 16
"""How many of a host's addresses are tried: the last one begins after 3.75 s at most."""
AT_ONCE = 4
"""Attempts for one connection under way at once. For a further one the eldest gives way, which has had a
second, as much as one lost packet costs."""
_MAX_ORIGINS = 4096
_TELLING_FIRST = (
    "connect_refused",
    "connect_timeout",
    "connect_failed",
    "proxy_connect_failed",
    "proxy_timeout",
    "proxy_refused",
)


class FirstAddresses:
    """Remembers which address of an origin to try first: the one that worked last, for at most 4,096."""

    def __init__(self, max_origins: int = _MAX_ORIGINS) -> None:
        self._max_origins = max_origins
        self._first: OrderedDict[Origin, Address] = OrderedDict()

    def order(self, origin: Origin, addresses: Sequence[Address]) -> Sequence[Address]:
        """Return the addresses to try, at most `MAX_ADDRESSES`; what is remembered is never added to them."""
        first = self._first.get(origin)
        if first is not None and first in addresses[1:]:
            addresses = [first, *(one for one in addresses if one != first)]
        return addresses[:MAX_ADDRESSES]

    def worked(self, origin: Origin, address: Address) -> None:
        """Try this address first from now on."""
        self._first[origin] = address
        self._first.move_to_end(origin)
        if len(self._first) > self._max_origins:
            self._first.popitem(last=False)

    def failed(self, origin: Origin, address: Address, addresses: Sequence[Address]) -> None:
        """Try the one after it next: it accepted a connection, but that was of no use."""
        after = addresses.index(address) + 1
        self.worked(origin, addresses[after % len(addresses)])

    def forget(self, origin: Origin) -> None:
        """Try them as the nameserver gives them: none of them worked."""
        self._first.pop(origin, None)


async def connect_first(
    addresses: Sequence[Address],
    connect: Callable[[Address], Awaitable[socket]],
    *,
    stagger: float = STAGGER,
    at_once: int = AT_ONCE,
) -> tuple[Address, socket]:
    """Return the first connection that stands, and its address; every other attempt has ended by then.

    `connect` bounds each attempt. Raises EgressError where all fail, the most telling one: that this daemon
    lacks something or its proxy is at fault, that the host refused, that it was silent.
    """
    if len(addresses) == 1:
        return addresses[0], await connect(addresses[0])
    race = _Race(connect)
    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                if len(race.under_way) == at_once:
                    race.under_way.popleft().cancel()
                race.failed = trio.Event()
                scope = trio.CancelScope()
                race.under_way.append(scope)
                nursery.start_soon(race.attempt, address, scope, nursery.cancel_scope)
                with trio.move_on_after(stagger):
                    await race.failed.wait()
    except BaseException:
        if race.won is not None:
            race.won[1].close()
        # Where the caller is cancelled, that is told plainly and not in a group, which callers do not expect.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise
    if race.won is not None:
        return race.won
    raise min(race.failures, key=_rank)


class _Race:
    """The attempts for one connection."""

    def __init__(self, connect: Callable[[Address], Awaitable[socket]]) -> None:
        self._connect = connect
        self.won: tuple[Address, socket] | None = None
        self.failures: list[EgressError] = []
        self.failed = trio.Event()  # one of those under way, since the last one began
        self.under_way: deque[trio.CancelScope] = deque()

    async def attempt(self, address: Address, scope: trio.CancelScope, race: trio.CancelScope) -> None:
        with scope:
            try:
                sock = await self._connect(address)
            except EgressError as error:
                self.failures.append(error)
                if scope in self.under_way:
                    self.under_way.remove(scope)
                self.failed.set()
                return
            # Two may stand in the same turn of the loop.
            if self.won is not None:
                sock.close()
                return
            self.won = address, sock
            race.cancel()


def _rank(error: EgressError) -> tuple[bool, int]:
    known = error.code in _TELLING_FIRST
    return error.fault not in (Fault.DAEMON, Fault.PROXY), _TELLING_FIRST.index(error.code) if known else len(
        _TELLING_FIRST
    )
