"""HTTP/1.1 on one connection, and the answers that it gives without a handler."""

import re
from email.utils import formatdate
from typing import Any

import h11
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.typing import H11SendableEvent

from api.h11_connection import H11Connection
from api.hypercorn_stream import Fields, Stream
from api.problems import CONTENT_TYPE, http_problem
from api.request_ids import request_id

_VERSIONS = (b"1.0", b"1.1")
_ABSOLUTE = re.compile(rb"^https?://[^/?#]+", re.IGNORECASE)  # RFC 9112 section 3.2.2


class Http1(H11Protocol):
    """Hypercorn's HTTP/1.1 without ways out of it (HTTP/2, WebSocket), and with problem documents."""

    _head = b""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection: H11Connection = H11Connection(self.config.h11_max_incomplete_size)

    async def ask_for_body(self) -> None:
        """Tell a client that keeps its body back that it may come."""
        if self.connection.body_withheld:
            fields = self.config.response_headers("h11")
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=fields))

    @property
    def input_left(self) -> bool:
        """Tell whether the client has not sent all of the request that it has been answered."""
        unread = self.connection.their_state in {h11.SEND_BODY, h11.ERROR}
        return unread or bool(self.connection.trailing_data[0])

    @property
    def pauses(self) -> bool:
        """Tell whether nothing is read before the answer to a request: another one came with it, or a wish
        for an upgrade, which h11 waits for the application to grant.
        """
        state = self.connection.their_state
        return bool(self.connection.trailing_data[0]) if state is h11.DONE else state is not h11.MUST_CLOSE

    @property
    def header_expected(self) -> bool:
        """Tell whether the client has yet to send a whole header."""
        return self.connection.their_state is h11.IDLE

    @property
    def nothing_begun(self) -> bool:
        """Tell whether nothing has come of the next request: what came was an empty line."""
        return self.header_expected and not self.connection.trailing_data[0]

    async def too_slow(self) -> None:
        """Answer 408 to a request whose header is late; a late body is its reader's to answer."""
        if self.connection.our_state is h11.IDLE:
            await self._send_error_response(408)

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer, and say so if it is the connection's last (RFC 9112 section 9.6)."""
        if isinstance(event, Response) and self._is_last():
            headers = [*event.headers, (b"connection", b"close")]
            event = Response(event.stream_id, headers, event.status_code)
        await super().stream_send(event)

    async def _send_whole(self, status: int, headers: Fields, body: bytes) -> None:
        fields = [*headers, *self.config.response_headers("h11")]
        if self._is_last() or self.keep_alive_requests >= self.config.keep_alive_max_requests:
            fields.append((b"connection", b"close"))
        data = self._serialised(h11.Response(status_code=status, headers=fields))
        if body:
            data += self._serialised(h11.Data(data=body))
        await self.send(RawData(data + self._serialised(h11.EndOfMessage())))

    def _is_last(self) -> bool:
        return self.context.terminated.is_set() or self.connection.their_state is h11.SEND_BODY

    def _serialised(self, event: H11SendableEvent) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""  # the client broke the protocol and has been told

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        data = self._serialised(event)
        if isinstance(event, h11.Response):
            self._head = data  # goes with the first of the body: one segment, one system call
            return
        head, self._head = self._head, b""
        await self.send(RawData(head + data))

    async def _check_protocol(self, event: h11.Request) -> None:
        pass  # an Upgrade may be ignored (RFC 9110 section 7.8), and here all are

    async def _create_stream(self, request: h11.Request) -> None:
        headers = list(request.headers)
        status = self._refusal(request, headers)
        if status is not None:
            await self._send_error_response(status)
            await self.send(Closed())
            return
        target = _ABSOLUTE.sub(b"", request.target)
        self.stream = Stream(
            self._send_whole,
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                STREAM_ID,
                headers,
                request.http_version.decode(),
                request.method.decode("ascii"),
                target if target.startswith((b"/", b"*")) else b"/" + target,
                self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    def _refusal(self, request: h11.Request, headers: Fields) -> int | None:
        """Return the status for a request that no handler shall see."""
        if request.http_version not in _VERSIONS:
            return 505
        if request.method != request.method.upper():
            return 400  # methods are case-sensitive (RFC 9110 section 9.1), and Hypercorn forgets the case
        names = {name for name, _ in headers}
        if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
            return 400  # a proxy may see another end of it (RFC 9112 section 6.1)
        # h11 checks the size of what is incomplete only: a header that comes in one piece passes it.
        fields = sum(len(name) + len(value) for name, value in headers)
        if len(request.target) + fields > self.config.h11_max_incomplete_size:
            return 431
        if not request.target.startswith((b"/", b"*")) and not _ABSOLUTE.match(request.target):
            return 400
        return None

    async def _send_error_response(self, status_code: int) -> None:
        status, headers, body = error_response(status_code)
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def error_response(status: int) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the status, header fields and body of an answer that no handler has a part in."""
    identifier = request_id(None)
    body = http_problem(status).body(identifier)
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", identifier.encode()),
        (b"date", formatdate(usegmt=True).encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    return status, headers, body
