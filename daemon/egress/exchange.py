"""Sending one request and getting one answer: guarded, pooled, and under a single deadline."""

import ssl
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import trio

from daemon.egress.answer import Answer
from daemon.egress.connection import encode_request, round_trip
from daemon.egress.deadline_watcher import DeadlineWatcher
from daemon.egress.dialer import Dialer
from daemon.egress.errors import EgressError, Fault, Phases
from daemon.egress.pool import Peer, Pool
from daemon.egress.response import ResponseReader
from daemon.egress.shared_epoll import SharedEpoll
from daemon.egress.socket_stream import SocketStream
from daemon.egress.url import Url

_MAX_SESSIONS = 1024
_REQUEST_TIMEOUT = 408
_TIMEOUTS = {
    "dns": ("dns_timeout", "The host's name was not resolved in time; check its DNS servers."),
    "connect": ("connect_timeout", "The host did not accept a connection in time; check its firewall."),
    "proxy": (
        "proxy_timeout",
        "The host was not reached in time through the proxy that hookd sends through; check its firewall.",
    ),
    "tls": ("tls_timeout", "The host did not complete the TLS handshake in time; check its TLS settings."),
    "request": ("timeout", "The receiver did not answer in time; answer first and do the work afterwards."),
}


class Exchange:
    """Sends requests over guarded, pooled connections.

    It follows no redirect and keeps no cookie; `dialer` opens its connections. A connection, and the TLS
    session that it leaves behind, serve only the organisation that it was made for (`owner`; None: the
    operator). Rules and certificates are fixed for its life: after a change of configuration make another one
    with another pool, and close the old pool.
    `max_response` is the number of raw bytes read of a response, `excerpt` the number of body bytes kept.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        pool: Pool,
        max_response: int = 64 * 1024,
        excerpt: int = 4 * 1024,
    ) -> None:
        self._dialer = dialer
        self._pool = pool
        self._max_response = max_response
        self._excerpt = excerpt
        self._sessions: OrderedDict[Peer, ssl.SSLSession] = OrderedDict()
        self._deadlines = DeadlineWatcher()
        self._epoll = SharedEpoll()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after kept connections: what comes, what takes too long, what is idle, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._epoll.serve)
            nursery.start_soon(self._deadlines.serve)
            await self._pool.serve(task_status=task_status)

    async def post(
        self,
        url: Url,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        timeout: float,
        owner: UUID | None = None,
        fresh: bool = False,
    ) -> Answer:
        """POST `body`; see `request`."""
        return await self.request("POST", url, headers, body, timeout=timeout, owner=owner, fresh=fresh)

    async def request(
        self,
        method: str,
        url: Url,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        timeout: float,
        owner: UUID | None = None,
        excerpt: int | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Send a request of these parts; see `send`."""
        data = encode_request(method, url, headers, body)
        return await self.send(url, data, timeout=timeout, owner=owner, excerpt=excerpt, fresh=fresh)

    async def send(
        self,
        url: Url,
        request: bytes,
        *,
        timeout: float,
        owner: UUID | None = None,
        excerpt: int | None = None,
        fresh: bool = False,
    ) -> Answer:
        """Return the answer, whatever its status, or raise EgressError within `timeout` seconds.

        From the head of the answer on there is no error any more: what is imperfect is noted in the answer.

        `request` is what `encode_request` makes. The one deadline covers everything from the name's
        resolution to the end of the body, so a receiver cannot stretch it by sending a byte now and then.
        `excerpt` overrides the number of body bytes kept. With `fresh` a new connection is made and no TLS
        session resumed, so that every phase happens.
        """
        phases = Phases()
        start = trio.current_time()
        due = start + max(0.0, timeout)
        kept = self._excerpt if excerpt is None else excerpt
        peer = (url.origin, owner)
        try:
            stream = None if fresh else self._pool.take(peer, start)
            if stream is not None:
                answer = await self._use_kept(stream, peer, request, phases, start, due, kept)
                if answer is not None:
                    return answer
                stream = None
            with trio.move_on_at(due):
                session = None if fresh else self._sessions.get(peer)
                stream = await self._dialer.open(url.origin, owner, phases, session)
                return await self._use(stream, peer, request, phases, start, kept)
            if stream is not None and stream.reader.status:
                return _late(stream.reader, phases, start)
            # A name may have waited for its organisation's other look-ups: its own limit is the resolver's.
            fault = Fault.REQUEST if phases.reached == "dns" else Fault.DEADLINE
            raise EgressError(*_TIMEOUTS[phases.reached], fault=fault)
        except EgressError as error:
            phases.total = trio.current_time() - start
            error.phases = phases
            raise

    async def _use_kept(
        self,
        stream: SocketStream,
        peer: Peer,
        request: bytes,
        phases: Phases,
        start: float,
        due: float,
        excerpt: int,
    ) -> Answer | None:
        """Return the answer on a connection that served before; None if it turns out to be dead.

        One that ends without a byte of answer was most likely closed by the receiver while the request was
        on its way, and so was one on which the receiver's patience ended (408, RFC 9110 section 15.5.9); what
        does not begin as an answer is left over from the last one. Sending again may deliver twice, which
        receivers expect and detect by the webhook-id. On a fresh connection all that is an answer, of a kind.
        """
        phases.reused = True
        self._deadlines.watch(stream, due)
        try:
            answer = await self._use(stream, peer, request, phases, start, excerpt)
            # A 408 that ends the connection answers the silence before, not this request.
            if answer.status != _REQUEST_TIMEOUT or stream.reader.reusable:
                return answer
        except trio.ClosedResourceError:  # by the deadline
            if not stream.reader.status:
                raise EgressError(*_TIMEOUTS["request"]) from None
            return _late(stream.reader, phases, start)
        except EgressError:
            # Once a byte of answer has come the request was heard, and is not sent again.
            if phases.first_byte is not None:
                if not stream.reader.is_stray:
                    raise
                self._pool.distrust(peer, trio.current_time())
        finally:
            self._deadlines.forget(stream)
        phases.reused, phases.first_byte = False, None
        return None

    async def _use(
        self, stream: SocketStream, peer: Peer, request: bytes, phases: Phases, start: float, excerpt: int
    ) -> Answer:
        phases.reached = "request"
        reader = stream.reader
        reader.begin(max_response=self._max_response, excerpt=excerpt)
        try:
            began = start if phases.reused else trio.current_time()
            now = await round_trip(stream, request, reader, phases, began)
        except BaseException:
            stream.close()
            raise
        if not phases.reused:
            self._remember(peer, stream.new_session())
            if reader.reusable:
                stream.keep(self._epoll)
        if reader.reusable:
            self._pool.give(peer, stream, now)
        else:
            stream.close()
        phases.total = now - start
        return _answer(reader, phases)

    def _remember(self, peer: Peer, session: ssl.SSLSession | None) -> None:
        # A resumed handshake skips the certificate, so it is for the same host, port and trust only; and by
        # it the host could tell that two connections are ours. It saves a quarter of a connection's cost.
        if session is None:
            return
        self._sessions[peer] = session
        self._sessions.move_to_end(peer)
        if len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)


def _answer(reader: ResponseReader, phases: Phases) -> Answer:
    answer = Answer(
        reader.status, reader.head, reader.excerpt, reader.truncated, phases, reader.note, reader.late
    )
    reader.forget()
    return answer


def _late(reader: ResponseReader, phases: Phases, start: float) -> Answer:
    """Return the answer of which the deadline, by which its connection was closed, left no more."""
    phases.total = trio.current_time() - start
    reader.expire()
    return _answer(reader, phases)
