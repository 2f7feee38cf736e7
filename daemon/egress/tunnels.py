"""Connections to hosts through the operator's proxy."""

import socket
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Fault
from daemon.egress.guard import Guard
from daemon.egress.happy_eyeballs import FirstAddresses, connect_first
from daemon.egress.proxy import Proxy, is_alive, open_tunnel, proxy_failed, proxy_unreachable
from daemon.egress.proxy_health import ProxyHealth
from daemon.egress.resolver import Resolver
from daemon.egress.socket_stream import connect
from daemon.egress.source import Sources
from daemon.egress.url import Origin

MAX_ADDRESSES = 4
"""How many of a host's addresses the proxy is asked for."""
STAGGER = 1.0
"""Seconds between asking for two of them: the proxy has to connect as well."""
_PROBE_TIMEOUT = 2.0


class Tunnels:
    """Opens tunnels through `proxy`, whose own name `resolver` finds: the guard is for receivers.

    `timeout`: seconds for connecting to the proxy, and again for its answer. Either takes at most half of the
    caller's time, so that some is left to find out whose fault a silence is.
    """

    def __init__(
        self,
        proxy: Proxy,
        *,
        guard: Guard,
        resolver: Resolver,
        sources: Sources,
        health: ProxyHealth,
        timeout: float,
    ) -> None:
        self.proxy = proxy
        self._guard = guard
        self._resolver = resolver
        self._sources = sources
        self._health = health
        self._timeout = timeout
        self._first = FirstAddresses()

    async def open(self, origin: Origin, owner: UUID | None) -> socket.socket:
        """Return a socket whose other end is the host of `origin`; raise EgressError.

        Where this daemon resolves, the guard sees every address, and the proxy is asked for an address; else
        it sees what can be seen of the name.
        """
        if self.proxy.resolves:
            self._guard.check_name(origin.host)
            with self._health.watch():
                return await self._tunnel(origin.host, origin.port)
        allowed = await self._guard.addresses(origin.host, owner)
        targets = self._first.order(origin, allowed)[:MAX_ADDRESSES]

        async def tunnel(target: Address) -> socket.socket:
            return await self._tunnel(str(target), origin.port)

        with self._health.watch():
            try:
                target, sock = await connect_first(targets, tunnel, stagger=STAGGER)
            except EgressError:
                self._first.forget(origin)
                raise
        self._first.worked(origin, target)
        return sock

    async def _tunnel(self, host: str, port: int) -> socket.socket:
        answer = self._health.answer()
        sock = await self._connect()
        limit = self._limit()
        try:
            await open_tunnel(sock, self.proxy.request(host, port), timeout=limit)
        except BaseException as error:
            sock.close()
            if isinstance(error, EgressError) and error.code == "proxy_timeout":
                if not (answer.is_set() or await self._is_alive()):
                    raise proxy_failed("the proxy accepts connections but answers nothing") from error
                self._health.works()
                error.fault = Fault.HOST if limit == self._timeout else Fault.DEADLINE
            raise
        return sock

    async def _connect(self) -> socket.socket:
        """Return a connection to the proxy itself."""
        try:
            found: Sequence[Address] = await self._resolver.resolve(self.proxy.host, None)
            addresses = [one for one in found if self._sources.can_reach(one)]
            if not addresses:
                raise EgressError("dns_failed", "The proxy has no address that can be sent to.")
            first = self._first.order(self.proxy.origin, addresses)
            one = partial(connect, port=self.proxy.port, timeout=self._limit(), sources=self._sources)
            address, sock = await connect_first(first, one)
        except EgressError as error:
            if error.fault is Fault.DAEMON:
                raise
            self._first.forget(self.proxy.origin)
            raise proxy_unreachable(error) from error
        self._first.worked(self.proxy.origin, address)
        return sock

    def _limit(self) -> float:
        left = trio.current_effective_deadline() - trio.current_time()
        return max(0.0, min(self._timeout, left / 2))

    async def _is_alive(self) -> bool:
        left = trio.current_effective_deadline() - trio.current_time()
        with trio.move_on_after(min(_PROBE_TIMEOUT, max(0.0, left * 0.8))):
            try:
                sock = await self._connect()
            except EgressError:
                return False
            try:
                return await is_alive(sock, self.proxy)
            finally:
                sock.close()
        return False
