"""Answers as real receivers give them, each with a fault, and what is made of it."""

from dataclasses import dataclass
from typing import Literal

from daemon.egress import imperfections as flaws

Ending = Literal["close", "reset", "hold"]


@dataclass(frozen=True, slots=True)
class Imperfect:
    """An answer, how its connection ends, and the status and note that it gets.

    Without a `status` there is an `error` instead.
    """

    name: str
    answer: bytes
    status: int | None = 200
    note: str | None = None
    ending: Ending = "close"
    error: str | None = None

    @property
    def body(self) -> bytes | None:
        """Return the body where it must be found whole in spite of the fault."""
        whole = (
            self.note in _BODY_UNHARMED
            and self.ending != "hold"
            and b"ok" in self.answer
            and self.status == 200
        )
        return b"ok" if whole else None


_BODY_UNHARMED = (
    flaws.TWICE,
    flaws.BOTH,
    flaws.OLD_CHUNKED,
    flaws.LF,
    flaws.FOLDED,
    flaws.BARE_CR,
    flaws.SPACE,
    flaws.NO_COLON,
    flaws.BAD_NAME,
    flaws.CONTROL,
    flaws.LONGER,
)
_OK = b"HTTP/1.1 200 OK\r\n"
_ZERO = b"Content-Length: 0\r\n\r\n"
_TWO = b"Content-Length: 2\r\n\r\nok"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

IMPERFECT = [
    # The body.
    Imperfect("short body", _OK + b"Content-Length: 10\r\n\r\nok", 200, flaws.SHORT),
    Imperfect("no body at all", _OK + b"Content-Length: 10\r\n\r\n", 200, flaws.SHORT),
    Imperfect("short body of a 410", b"HTTP/1.1 410 Gone\r\nContent-Length: 10\r\n\r\nok", 410, flaws.SHORT),
    Imperfect("no last chunk", _CHUNKED + b"2\r\nok\r\n", 200, flaws.NO_LAST_CHUNK),
    Imperfect("end within a chunk", _CHUNKED + b"5\r\nok", 200, flaws.NO_LAST_CHUNK),
    Imperfect("no chunk at all", _CHUNKED, 200, flaws.NO_LAST_CHUNK),
    Imperfect(
        "end without the line after the last chunk", _CHUNKED + b"2\r\nok\r\n0\r\n", 200, flaws.NO_LAST_CHUNK
    ),
    Imperfect("reset within the body", _OK + b"Content-Length: 10\r\n\r\nok", 200, flaws.RESET, "reset"),
    Imperfect("reset after the head", _OK + b"Content-Length: 10\r\n\r\n", 200, flaws.RESET, "reset"),
    Imperfect("reset of a body without length", _OK + b"\r\nok", 200, flaws.RESET, "reset"),
    Imperfect("body that never comes", _OK + b"Content-Length: 10\r\n\r\n", 200, flaws.LATE, "hold"),
    Imperfect("no length and no end", _OK + b"\r\nok", 200, flaws.LATE, "hold"),
    Imperfect("chunk sizes that are no numbers", _CHUNKED + b"zz\r\nok\r\n0\r\n\r\n", 200, flaws.BAD_CHUNKS),
    Imperfect("chunk longer than told", _CHUNKED + b"2\r\nokay\r\n0\r\n\r\n", 200, flaws.BAD_CHUNKS),
    Imperfect(
        "chunk size beyond all bounds", _CHUNKED + b"fffffffffffffffff1\r\nok\r\n", 200, flaws.BAD_CHUNKS
    ),
    Imperfect("chunked only in name", _CHUNKED + b"ok", 200, flaws.BAD_CHUNKS),
    Imperfect("chunk extensions", _CHUNKED + b"2;a=b\r\nok\r\n0;c\r\n\r\n", 200, None),
    Imperfect("body longer than told", _OK + b"Content-Length: 2\r\n\r\nokay", 200, flaws.LONGER),
    Imperfect("a second answer", _OK + _TWO + _OK + _TWO, 200, flaws.LONGER),
    Imperfect("coding named, body not in it", _OK + b"Content-Encoding: gzip\r\n" + _TWO, 200, None),
    Imperfect(
        "204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, flaws.NO_BODY
    ),
    Imperfect(
        "204 in chunks",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        204,
        flaws.NO_BODY,
    ),
    Imperfect("204 with a body", b"HTTP/1.1 204 No Content\r\n\r\nok", 204, flaws.LONGER),
    Imperfect(
        "304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, flaws.NO_BODY
    ),
    # What tells where it ends.
    Imperfect("length twice", _OK + b"Content-Length: 2\r\n" + _TWO, 200, flaws.TWICE),
    Imperfect("length twice in one line", _OK + b"Content-Length: 2, 2\r\n\r\nok", 200, flaws.TWICE),
    Imperfect("two lengths", _OK + b"Content-Length: 3\r\n" + _TWO, 200, flaws.DIFFERENT),
    Imperfect("negative length", _OK + b"Content-Length: -1\r\n\r\nok", 200, flaws.UNREADABLE),
    Imperfect("length with a sign", _OK + b"Content-Length: +2\r\n\r\nok", 200, flaws.UNREADABLE),
    Imperfect("length in hex", _OK + b"Content-Length: 0x2\r\n\r\nok", 200, flaws.UNREADABLE),
    Imperfect("length of nothing", _OK + b"Content-Length:\r\n\r\nok", 200, flaws.UNREADABLE),
    Imperfect(
        "length beyond all bounds",
        _OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nok",
        200,
        flaws.UNREADABLE,
    ),
    Imperfect("coding identity", _OK + b"Transfer-Encoding: identity\r\n" + _TWO, 200, flaws.NOT_CHUNKED),
    Imperfect(
        "coding identity, no length", _OK + b"Transfer-Encoding: identity\r\n\r\nok", 200, flaws.NOT_CHUNKED
    ),
    Imperfect(
        "coding identity, kept open",
        _OK + b"Transfer-Encoding: identity\r\n" + _TWO,
        200,
        flaws.NOT_CHUNKED,
        "hold",
    ),
    Imperfect(
        "chunked and a length",
        _OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        flaws.BOTH,
    ),
    Imperfect(
        "chunked with HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        200,
        flaws.OLD_CHUNKED,
    ),
    Imperfect(
        "HTTP/1.0 kept alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + _TWO, 200, None, "hold"
    ),
    # Headers.
    Imperfect("LF line ends", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, flaws.LF),
    Imperfect("LF line ends and nothing else", b"HTTP/1.1 200 OK\n\n", 200, flaws.LF),
    Imperfect("LF before the body alone", _OK + b"Content-Length: 2\r\n\nok", 200, flaws.LF),
    Imperfect("LF line ends and an end within the headers", b"HTTP/1.1 200 OK\nX: y\n", 200, flaws.CUT),
    Imperfect("LF in interim answers", b"HTTP/1.1 100 Continue\n\n" + _OK + _TWO, 200, flaws.LF),
    Imperfect("folded header", _OK + b"X: a\r\n b\r\n" + _TWO, 200, flaws.FOLDED),
    Imperfect("bare CR in a value", _OK + b"X: a\rb\r\n" + _TWO, 200, flaws.BARE_CR),
    Imperfect("space before the colon", _OK + b"Content-Length : 2\r\n\r\nok", 200, flaws.SPACE),
    Imperfect("line without a colon", _OK + b"nonsense\r\n" + _TWO, 200, flaws.NO_COLON),
    Imperfect("empty header name", _OK + b": a\r\n" + _TWO, 200, flaws.BAD_NAME),
    Imperfect("space in a header name", _OK + b"X Y: a\r\n" + _TWO, 200, flaws.BAD_NAME),
    Imperfect("header name not in ASCII", _OK + b"X\xe9: a\r\n" + _TWO, 200, flaws.BAD_NAME),
    Imperfect("NUL in a value", _OK + b"X: a\0b\r\n" + _TWO, 200, flaws.CONTROL),
    Imperfect("obs-text in a value", _OK + b"X: caf\xe9\r\n" + _TWO, 200, None),
    Imperfect("header of 90 KiB", _OK + b"X: " + b"x" * 90 * 1024 + b"\r\n" + _TWO, 200, None),
    Imperfect("2,000 headers", _OK + b"X-Header: some\r\n" * 2000 + _TWO, 200, None),
    # The status line.
    Imperfect("no reason", b"HTTP/1.1 200\r\n" + _ZERO, 200, None),
    Imperfect("no reason but a space", b"HTTP/1.1 200 \r\n" + _ZERO, 200, None),
    Imperfect("spaces at the end", b"HTTP/1.1 200 OK  \r\n" + _ZERO, 200, None),
    Imperfect("obs-text in the reason", b"HTTP/1.1 200 D\xe9j\xe0\r\n" + _ZERO, 200, None),
    Imperfect("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n" + _ZERO, 200, None),
    Imperfect("reason glued on", b"HTTP/1.1 200OK\r\n" + _ZERO, 200, flaws.STATUS_LINE),
    Imperfect("two spaces before the status", b"HTTP/1.1  200 OK\r\n" + _ZERO, 200, flaws.STATUS_LINE),
    Imperfect("lower case", b"http/1.1 200 ok\r\n" + _ZERO, 200, flaws.STATUS_LINE),
    Imperfect("no version", b"HTTP 200 OK\r\n" + _ZERO, 200, flaws.VERSION),
    Imperfect("HTTP/2 as text", b"HTTP/2 200 OK\r\n" + _ZERO, 200, flaws.VERSION),
    Imperfect("HTTP/2.0 as text", b"HTTP/2.0 200 OK\r\n" + _ZERO, 200, flaws.VERSION),
    Imperfect("HTTP/1.2", b"HTTP/1.2 200 OK\r\n" + _ZERO, 200, flaws.VERSION),
    Imperfect("HTTP/0.9 with a status", b"HTTP/0.9 200 OK\r\n" + _ZERO, 200, flaws.VERSION),
    Imperfect("a status beyond 599", b"HTTP/1.1 666 Beast\r\n" + _ZERO, 666, flaws.OUTSIDE),
    Imperfect("a status below 100", b"HTTP/1.1 099 Low\r\n" + _ZERO, 99, flaws.OUTSIDE),
    Imperfect("empty lines first", b"\r\n\r\n" + _OK + _ZERO, 200, flaws.BLANK),
    Imperfect(
        "nine interim answers", b"HTTP/1.1 102 Processing\r\n\r\n" * 9 + _OK + _ZERO, 200, flaws.INTERIM
    ),
    Imperfect("eight interim answers", b"HTTP/1.1 102 Processing\r\n\r\n" * 8 + _OK + _ZERO, 200, None),
    Imperfect("status line and nothing else", b"HTTP/1.1 200 OK\r\n", 200, flaws.CUT),
    Imperfect("end within the headers", _OK + b"X: y\r\nConte", 200, flaws.CUT),
    # No status, or none that counts.
    Imperfect("nothing", b"", None, error="connection_lost"),
    Imperfect("end within the status line", b"HTTP/1.1 20", None, error="connection_lost"),
    Imperfect("reset within the headers", _OK + b"X: y\r\n", None, ending="reset", error="connection_lost"),
    Imperfect("no end of the headers", _OK + b"X: y\r\n", None, ending="hold", error="timeout"),
    Imperfect("CR line ends", b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok", None, error="connection_lost"),
    Imperfect("interim answers alone", b"HTTP/1.1 102 Processing\r\n\r\n", None, error="connection_lost"),
    Imperfect("four digits", b"HTTP/1.1 2000 OK\r\n" + _ZERO, None, error="protocol_error"),
    Imperfect("no digits", b"HTTP/1.1 OK\r\n" + _ZERO, None, error="protocol_error"),
    Imperfect("status 000", b"HTTP/1.1 000 None\r\n" + _ZERO, None, error="protocol_error"),
    Imperfect("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n", None, error="protocol_error"),
    Imperfect("a page without a head", b"<html>400 Bad Request</html>", None, error="protocol_error"),
    Imperfect("text before the head", b"ok" + _OK + _ZERO, None, error="protocol_error"),
    Imperfect(
        "switching protocols unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        None,
        error="protocol_error",
    ),
    Imperfect("headers without end", _OK + b"X: y\r\n" * 40_000, None, error="response_too_large"),
]
