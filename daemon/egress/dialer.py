"""From an origin to a connection that a request can go over: names, addresses, TCP, TLS."""

import socket
import ssl
from functools import partial
from uuid import UUID

import trio

from daemon.egress.errors import EgressError, Phases
from daemon.egress.guard import Guard
from daemon.egress.happy_eyeballs import STAGGER, FirstAddresses, connect_first
from daemon.egress.url import Origin
from daemon.egress.wire import Wire, connect, start_tls


class Dialer:
    """Opens connections to what `guard` allows. `connect_timeout`: seconds of each attempt, and of TLS."""

    def __init__(self, *, guard: Guard, ssl_context: ssl.SSLContext, connect_timeout: float) -> None:
        self._guard = guard
        self._ssl_context = ssl_context
        self._connect_timeout = connect_timeout
        self._first = FirstAddresses()

    async def open(
        self, origin: Origin, owner: UUID | None, phases: Phases, session: ssl.SSLSession | None
    ) -> Wire:
        """Return a new connection to `origin` for `owner`, timed in `phases`; raise EgressError.

        The caller sets the deadline. The guard sees every address before anything is sent to any of them, and
        the certificate is checked against the origin's own name. `session` is resumed if the host agrees.
        """
        phases.reached = "dns"
        start = trio.current_time()
        allowed = await self._guard.addresses(origin.host, owner)
        resolved = trio.current_time()
        phases.dns = resolved - start
        phases.reached = "connect"
        addresses = self._first.order(origin, allowed)
        # Who has little time shares it among them all.
        share = (trio.current_effective_deadline() - resolved) / len(addresses)
        try:
            address, sock = await connect_first(
                addresses,
                partial(connect, port=origin.port, timeout=self._connect_timeout),
                stagger=max(0.0, min(STAGGER, share)),
            )
        except EgressError:
            self._first.forget(origin)
            raise
        connected = trio.current_time()
        phases.connect = connected - resolved
        if origin.scheme == "https":
            phases.reached = "tls"
            try:
                sock = await self._start_tls(sock, origin.host, session)
            except EgressError:
                self._first.failed(origin, address, addresses)
                raise
            phases.tls = trio.current_time() - connected
        self._first.worked(origin, address)
        return Wire(sock)

    async def _start_tls(
        self, sock: socket.socket, host: str, session: ssl.SSLSession | None
    ) -> ssl.SSLSocket:
        return await start_tls(sock, self._ssl_context, host, session=session, timeout=self._connect_timeout)
