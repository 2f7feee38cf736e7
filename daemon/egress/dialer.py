"""From an origin to a connection that a request can go over: names, addresses, TCP, TLS."""

import socket
import ssl
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Phases
from daemon.egress.guard import Guard
from daemon.egress.happy_eyeballs import STAGGER, FirstAddresses, connect_first
from daemon.egress.socket_stream import SocketStream, connect
from daemon.egress.source import ANY_SOURCE, Sources
from daemon.egress.tls import start_tls
from daemon.egress.tunnels import Tunnels
from daemon.egress.url import Origin


class Dialer:
    """Opens connections to what `guard` allows, from `sources`, through `tunnels` where they serve an origin.

    `connect_timeout`: seconds of each attempt, and of the TLS handshake.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        ssl_context: ssl.SSLContext,
        connect_timeout: float,
        sources: Sources = ANY_SOURCE,
        tunnels: Tunnels | None = None,
    ) -> None:
        self._guard = guard
        self._ssl_context = ssl_context
        self._connect_timeout = connect_timeout
        self._sources = sources
        self._tunnels = tunnels
        self._first = FirstAddresses()

    async def open(
        self, origin: Origin, owner: UUID | None, phases: Phases, session: ssl.SSLSession | None
    ) -> SocketStream:
        """Return a new connection to `origin` for `owner`, timed in `phases`; raise EgressError.

        The caller sets the deadline. The guard sees every address before anything is sent to any of them, and
        the certificate is checked against the origin's own name. `session` is resumed if the host agrees.
        """
        if self._tunnels is not None and self._tunnels.proxy.is_for(origin):
            phases.reached = "proxy"
            start = trio.current_time()
            sock = await self._tunnels.open(origin, owner)
            phases.connect = trio.current_time() - start
            return SocketStream(await self._with_tls(sock, origin, phases, session))
        addresses = await self._addresses(origin, owner, phases)
        address, sock = await self._connect(origin, addresses, phases)
        try:
            sock = await self._with_tls(sock, origin, phases, session)
        except EgressError:
            self._first.failed(origin, address, addresses)
            raise
        self._first.worked(origin, address)
        return SocketStream(sock)

    async def _addresses(self, origin: Origin, owner: UUID | None, phases: Phases) -> Sequence[Address]:
        phases.reached = "dns"
        start = trio.current_time()
        allowed = await self._guard.addresses(origin.host, owner)
        phases.dns = trio.current_time() - start
        usable = [one for one in allowed if self._sources.can_reach(one)]
        if not usable:
            only = self._sources.family
            raise EgressError(
                "connect_failed", f"The host has no {only} address, and hookd sends from {only} alone."
            )
        return self._first.order(origin, usable)

    async def _connect(
        self, origin: Origin, addresses: Sequence[Address], phases: Phases
    ) -> tuple[Address, socket.socket]:
        phases.reached = "connect"
        start = trio.current_time()
        # Who has little time shares it among them all.
        share = (trio.current_effective_deadline() - start) / len(addresses)
        one = partial(connect, port=origin.port, timeout=self._connect_timeout, sources=self._sources)
        try:
            found = await connect_first(addresses, one, stagger=max(0.0, min(STAGGER, share)))
        except EgressError:
            self._first.forget(origin)
            raise
        phases.connect = trio.current_time() - start
        return found

    async def _with_tls(
        self, sock: socket.socket, origin: Origin, phases: Phases, session: ssl.SSLSession | None
    ) -> socket.socket:
        if origin.scheme != "https":
            return sock
        phases.reached = "tls"
        start = trio.current_time()
        tls = await start_tls(
            sock, self._ssl_context, origin.host, session=session, timeout=self._connect_timeout
        )
        phases.tls = trio.current_time() - start
        return tls
