"""Looking up a name: both kinds of address side by side, at one nameserver after another, within bounds."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest

import dns.rdatatype
import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError
from daemon.egress.nameserver import Nameserver, NoUsableAnswer, ask

TRIES = (1.0, 1.5, 2.5)
"""Seconds that each try waits; the next one goes to the next nameserver, or again to the only one. A lost
packet thus costs a second, a nameserver that is down as much."""
SECOND_KIND = 0.2
"""Seconds that one kind of address is waited for once there are some of the other (RFC 8305 section 3)."""
_KINDS = (dns.rdatatype.AAAA, dns.rdatatype.A)

Servers = Callable[[], Awaitable[Sequence[Nameserver]]]


class NameLookup:
    """Asks the nameservers that `servers` gives at each look-up, first the one that answered last."""

    def __init__(
        self, servers: Servers, *, tries: Sequence[float] = TRIES, second_kind: float = SECOND_KIND
    ) -> None:
        self._servers = servers
        self._tries = tries
        self._second_kind = second_kind
        self._answered_last: Nameserver | None = None

    async def __call__(self, host: str) -> list[Address]:
        """Return the addresses of the absolute name `host`, IPv6 and IPv4 by turns; none if it has none.

        One kind suffices. Raises EgressError where neither gave any and one could not be asked: dns_timeout,
        or dns_failed.
        """
        servers = await self._servers()
        found: dict[dns.rdatatype.RdataType, list[Address]] = {}
        failures: list[EgressError] = []

        async def one_kind(kind: dns.rdatatype.RdataType) -> None:
            try:
                found[kind] = await self._ask(servers, host, kind)
            except EgressError as error:
                failures.append(error)
            else:
                if found[kind]:
                    nursery.cancel_scope.deadline = trio.current_time() + self._second_kind

        async with trio.open_nursery() as nursery:
            for kind in _KINDS:
                nursery.start_soon(one_kind, kind)
        by_turns = zip_longest(*(found.get(kind, ()) for kind in _KINDS))
        addresses = [one for one in chain.from_iterable(by_turns) if one is not None]
        if failures and not addresses:
            raise min(failures, key=lambda error: error.code != "dns_timeout")
        return addresses

    async def _ask(
        self, servers: Sequence[Nameserver], host: str, kind: dns.rdatatype.RdataType
    ) -> list[Address]:
        left = deque(sorted(servers, key=lambda one: one != self._answered_last))
        timed_out = False
        for wait in self._tries:
            if not left:
                break
            server = left.popleft()
            with trio.move_on_after(wait) as scope:
                try:
                    found = await ask(server, host, kind)
                except NoUsableAnswer:
                    continue
                self._answered_last = server
                return found
            if scope.cancelled_caught:
                timed_out = True
                left.append(server)
        if timed_out:
            raise EgressError(
                "dns_timeout", "No nameserver answered in time for the host's name; it will be asked again."
            )
        raise EgressError("dns_failed", "The host's name could not be resolved; check its DNS servers.")
