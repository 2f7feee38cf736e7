"""Reading one HTTP/1.1 response within bounds, whatever the peer sends."""

from contextlib import suppress
from dataclasses import dataclass

import httptools

from daemon.egress.errors import EgressError, Phases

MAX_INTERIM = 8


@dataclass(slots=True)
class Answer:
    """A response: its head as received, and the first bytes of its body (`truncated`: there were more).

    `head` may begin with interim responses and end with a part of the body.
    """

    status: int
    head: bytes
    excerpt: bytes
    truncated: bool
    phases: Phases

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as received, parsed now: hardly any answer's are ever asked for."""
        return _Headers(self.head).found

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, its name in lower case, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class _Headers:
    """The headers of the final response in bytes that a `ResponseReader` has found good."""

    def __init__(self, head: bytes) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)
        # What comes after the head was not judged by its reader if it stopped early.
        with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser.feed_data(head)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header (called by the parser); trailers are left out."""
        if not self._complete:
            self.found.append((name, value))

    def on_headers_complete(self) -> None:
        """Forget the headers of an interim response (called by the parser)."""
        if self._parser.get_status_code() >= 200:
            self._complete = True
        elif not self._complete:
            self.found.clear()


class ResponseReader:
    """Parses a connection's final responses from raw bytes, skipping interim (1xx) ones.

    `begin` each, the next one only after one that was `reusable`. Of each at most `max_response` raw bytes
    are taken, headers included, and `excerpt` bytes of the body are kept.
    `status` is 0 until the head of the final response is complete; `done` says that its body is, too, or is
    not going to be read any further. `reusable` tells whether another request may follow on the connection.
    """

    def __init__(self) -> None:
        # One for all of a connection's responses: it costs as much to make as a response to parse, and as it
        # knows this object, only the garbage collector frees the two.
        self._parser = httptools.HttpResponseParser(self)

    def begin(self, *, max_response: int, excerpt: int) -> None:
        """Expect a response."""
        self.room = max_response
        self.received = 0
        self.status = 0
        self.truncated = False
        self.done = False
        self.reusable = False
        self._fault = ""
        self._interim = 0
        self._head: list[bytes] = []
        self._body: list[bytes] = []
        self._excerpt_room = excerpt

    def forget(self) -> None:
        """Keep nothing of the response: its connection may be idle for long."""
        self._head, self._body = [], []

    @property
    def head(self) -> bytes:
        """All that was received until the head of the final response was complete."""
        return b"".join(self._head)

    @property
    def excerpt(self) -> bytes:
        """The first bytes of the body."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, 1 to `room` of them; raise EgressError if they are not HTTP/1.1."""
        if not self.status:
            self._head.append(data)
        self.received += len(data)
        self.room -= len(data)
        # The last byte goes in by itself: a response that is complete before it was followed by surplus
        # bytes, and what follows a response unasked must never be taken for the answer to the next request.
        try:
            self._parser.feed_data(data[:-1])
            surplus = self.done
            if not surplus:
                self._parser.feed_data(data[-1:])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            surplus = self.done
            if not surplus and not self._fault:
                self._fault = (
                    str(error) if isinstance(error, httptools.HttpParserError) else "unasked upgrade"
                )
        if self._fault:
            raise EgressError(
                "protocol_error", f"The receiver's answer is not valid HTTP/1.1 ({self._fault})."
            )
        if surplus:
            self.reusable = False
        if not self.room and not self.done:
            self._stop_early()

    def end(self) -> None:
        """Take the end of the stream; raise EgressError (connection_lost) if more bytes were needed."""
        if not self.received:
            raise EgressError("connection_lost", "The receiver closed the connection without an answer.")
        if not self.status:
            raise EgressError(
                "connection_lost", "The receiver closed the connection within the answer's headers."
            )
        if self._has_framing():
            raise EgressError(
                "connection_lost", "The receiver closed the connection within the answer's body."
            )
        self.done = True  # RFC 9112 section 6.3: without framing, the body ends with the connection

    def _stop_early(self) -> None:
        if not self.status:
            raise EgressError(
                "response_too_large", "The answer's headers are too long; send fewer or shorter ones."
            )
        # The status is known, and it is what counts; the rest of the body is not worth reading.
        self.truncated = self.done = True

    def _has_framing(self) -> bool:
        headers = _Headers(self.head).found
        codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
        if codings:
            return codings[-1].lower().rpartition(b",")[2].strip() == b"chunked"
        return self._has(b"content-length")

    def _has(self, name: bytes) -> bool:
        return any(one.lower() == name for one, _ in _Headers(self.head).found)

    def on_headers_complete(self) -> None:
        """Judge the status line (called by the parser)."""
        status = self._parser.get_status_code()
        if self.done:
            return
        if status == 101:
            self._fault = "unasked upgrade"
        elif 100 <= status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._fault = "too many interim responses"
        elif not 200 <= status < 600:
            self._fault = "status code out of range"
        elif (version := self._parser.get_http_version()) not in ("1.1", "1.0"):
            self._fault = "unknown HTTP version"
        elif version == "1.0" and self._has(b"transfer-encoding"):
            # RFC 9112 section 6.1: its framing is faulty, whatever else it says.
            self._fault = "Transfer-Encoding with HTTP/1.0"
        else:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body (called by the parser) as far as there is room."""
        if self.done:
            return
        if len(data) > self._excerpt_room:
            data = data[: self._excerpt_room]
            self.truncated = True
        if data:
            self._excerpt_room -= len(data)
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Note the end of a response (called by the parser); an interim one is not the end."""
        if self.status and not self.done:
            self.done = True
            self.reusable = self._parser.should_keep_alive()
