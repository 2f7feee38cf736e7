"""Reading one HTTP/1.1 response within bounds, whatever the peer sends."""

import re

import httptools

from daemon.egress import imperfections as flaws
from daemon.egress.answer import headers_of
from daemon.egress.errors import EgressError
from daemon.egress.head_repair import HeadRepair, NoStatus, RepairedHead

MAX_HEAD = 128 * 1024
"""Raw bytes, interim answers included, within which the head of the final answer must end; curl takes headers
of up to 100 KiB."""
_TELLS_OF_BODY = re.compile(rb"\n(?:transfer-encoding:|content-length:[ \t]*0*[1-9])", re.IGNORECASE)


class ResponseReader:
    """Parses a connection's final responses from raw bytes, skipping interim (1xx) ones.

    `begin` each, the next one only after one that was `reusable`. Of each at most `max_response` raw bytes
    are taken, headers included (if these are longer, they are read to their end, within `MAX_HEAD`), and
    `excerpt` bytes of the body are kept.
    `status` is 0 until the head of the final response is complete; `done` says that its body is, too, or is
    not going to be read any further. From then on nothing that comes, or does not come, is an error: what is
    imperfect goes into `note`. `reusable` tells whether another request may follow on the connection: never
    after anything imperfect.
    """

    def __init__(self) -> None:
        # One for all of a connection's responses: it costs as much to make as a response to parse, and as it
        # knows this object, only the garbage collector frees the two.
        self._parser = httptools.HttpResponseParser(self)

    def begin(self, *, max_response: int, excerpt: int, max_head: int = MAX_HEAD) -> None:
        """Expect a response."""
        self.room = self._max_response = max_response
        self._max_head = max_head
        self.received = 0
        self.status = 0
        self.note = ""
        self.truncated = False
        self.late = False
        self.done = False
        self.reusable = False
        self._refusal = ""
        self._repair: HeadRepair | None = None
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

    @property
    def is_stray(self) -> bool:
        """Whether what came begins as no answer does: on a kept connection, it belongs to the one before."""
        start = self.head[:5]
        return not self.status and not b"HTTP/".startswith(start)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, 1 to `room` of them.

        Raises EgressError where they are no answer (protocol_error), or its head has no end
        (response_too_large).
        """
        self.received += len(data)
        self.room -= len(data)
        if not self.status:
            self._head.append(data)
        if self._repair is None or self.status:
            self._parse(data)
        else:
            self._repair_with(self._repair, data)
        if not self.room and not self.done:
            self._stop_early()

    def end(self) -> None:
        """Take the end of the stream; raise EgressError (connection_lost) if there is no status."""
        if not self.received:
            raise EgressError("connection_lost", "The receiver closed the connection without an answer.")
        if not self.status:
            self._end_within_head()
        elif not self.done:
            # RFC 9112 section 6.3: without framing, the body ends with the connection.
            self._remark(self._unended())
        self.done = True

    def lose(self) -> None:
        """Take a reset; raise EgressError (connection_lost) if the head was not complete."""
        if not self.status:
            raise EgressError("connection_lost", "The connection was reset before the answer was complete.")
        self._remark(flaws.RESET)
        self.done = True

    def expire(self) -> None:
        """Take the deadline, with `status` there."""
        self.late = True
        self.cut(flaws.LATE)

    def cut(self, remark: str = "") -> None:
        """Read no further, with `status` there."""
        self._remark(remark)
        self.truncated = self.done = True
        self.reusable = False

    def _parse(self, data: bytes) -> None:
        # The last byte goes in by itself: a response that is complete before it was followed by surplus
        # bytes, and what follows a response unasked must never be taken for the answer to the next request.
        try:
            self._parser.feed_data(data[:-1])
            surplus = self.done
            if not surplus:
                self._parser.feed_data(data[-1:])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            surplus = self.done
            if not surplus and not self._refusal:
                if self.status:
                    self._remark(flaws.BAD_CHUNKS)
                    self.done = True
                else:
                    self._repair = HeadRepair()
                    self._repair_with(self._repair, self.head)
                return
        if self._refusal:
            raise _no_answer(self._refusal)
        if surplus:
            self._remark(flaws.LONGER)

    def _repair_with(self, repair: HeadRepair, data: bytes) -> None:
        try:
            head = repair.feed(data)
        except NoStatus as error:
            raise _no_answer(str(error)) from error
        if head is not None:
            self._take(head)

    def _take(self, head: RepairedHead) -> None:
        for fault in head.faults:
            self._remark(fault)
        self._head = [head.data]
        self._parser = httptools.HttpResponseParser(self)
        self._parse(head.data)
        if head.rest and self.done:
            self._remark(flaws.LONGER)
        elif head.rest:
            self._parse(head.rest)

    def _end_within_head(self) -> None:
        repair = self._repair
        try:
            if repair is None:
                repair = HeadRepair()
                repair.feed(self.head)
            head = repair.end()
        except NoStatus:
            head = None
        if head is None:
            raise EgressError(
                "connection_lost", "The receiver closed the connection within the answer's headers."
            )
        self._take(head)

    def _stop_early(self) -> None:
        if self.status:
            # It is what counts; the rest of the body is not worth reading.
            self.truncated = self.done = True
        elif self.received < self._max_head:
            self.room = self._max_head - self.received
        else:
            raise EgressError(
                "response_too_large", "The answer's headers are too long; send fewer or shorter ones."
            )

    def _unended(self) -> str:
        """Return what is wrong with a body that ends here, "" if nothing is."""
        headers = headers_of(self.head)
        codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
        if codings:
            chunked = codings[-1].lower().rpartition(b",")[2].strip() == b"chunked"
            return flaws.NO_LAST_CHUNK if chunked else flaws.NOT_CHUNKED
        return flaws.SHORT if self._has(b"content-length") else ""

    def _has(self, name: bytes) -> bool:
        return any(one.lower() == name for one, _ in headers_of(self.head))

    def _remark(self, fault: str) -> None:
        if fault and fault not in self.note:
            self.note = f"{self.note}; {fault}" if self.note else fault
            self.reusable = False

    def on_headers_complete(self) -> None:
        """Judge the status line (called by the parser)."""
        status = self._parser.get_status_code()
        if self.done:
            return
        if status == 101:
            self._refusal = "unasked upgrade"
        elif status == 0:
            self._refusal = "its status is 000"
        elif 100 <= status < 200:
            self._interim += 1
            if self._interim > flaws.MAX_INTERIM:
                self._remark(flaws.INTERIM)
        else:
            self.status = status
            self._judge(status)

    def _judge(self, status: int) -> None:
        """Remark on what a parser takes that has no thought for the next request."""
        if not 200 <= status < 600:
            self._remark(flaws.OUTSIDE)
        version = self._parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                self._remark(flaws.VERSION)
            elif self._has(b"transfer-encoding"):
                # RFC 9112 section 6.1: its framing is faulty, whatever else it says.
                self._remark(flaws.OLD_CHUNKED)
        if status in (204, 304) and _TELLS_OF_BODY.search(self.head):
            self._remark(flaws.NO_BODY)
        if self._head[0][0] in b"\r\n":
            self._remark(flaws.BLANK)
        if self.received > self._max_response:
            self.room = 0

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
            self.reusable = not self.note and self._parser.should_keep_alive()


def _no_answer(why: str) -> EgressError:
    return EgressError("protocol_error", f"What the receiver sent is no answer in HTTP/1.1 ({why}).")
