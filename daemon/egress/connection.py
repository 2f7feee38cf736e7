"""One HTTP/1.1 request and its response on a connection."""

import re
import ssl
from collections.abc import Sequence

import trio

from daemon.egress.errors import EgressError, Fault, Phases
from daemon.egress.response import ResponseReader
from daemon.egress.socket_stream import SocketStream
from daemon.egress.tls import tls_error
from daemon.egress.url import Url

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
LINGER = 1.0
"""Seconds that the rest of an answer may take which is not needed, and may have no end."""
REFUSAL = 300
"""From this status on, an answer that comes before the whole request was sent means: no more."""
_RECEIVE_SIZE = 16 * 1024  # one TLS record
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
# These decide where a request ends and how the answer looks: they are written here and nowhere else.
OWN_HEADERS = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"accept-encoding",
        b"expect",
        b"upgrade",
        b"te",
    }
)


def encode_request(method: str, url: Url, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return the request as it goes over the wire (RFC 9112 section 2.1).

    Host, Content-Length and Accept-Encoding are added. Raises EgressError (header_invalid) for a header that
    is one of these, that has no proper name, or that could end its line, and ValueError for another method.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is not supported; use one of {', '.join(sorted(METHODS))}")
    parts = [
        b"%s %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: identity\r\n"
        % (method.encode("ascii"), url.target, url.authority)
    ]
    for name, value in headers:
        if not _NAME.fullmatch(name) or name.lower() in OWN_HEADERS:
            raise EgressError(
                "header_invalid", f"The request header {name[:64]!r} may not be set; choose another name."
            )
        if not _VALUE.fullmatch(value):
            raise EgressError(
                "header_invalid",
                f"The request header {name[:64]!r} has a line break or NUL in its value; remove it.",
            )
        parts.append(b"%s: %s\r\n" % (name, value))
    # A method that expects content says so where there is none, too (RFC 9110 section 8.6).
    if body or method not in ("GET", "DELETE"):
        parts.append(b"Content-Length: %d\r\n" % len(body))
    parts.append(b"\r\n")
    parts.append(body)
    return b"".join(parts)


async def round_trip(
    stream: SocketStream, request: bytes, reader: ResponseReader, phases: Phases, start: float
) -> float:
    """Send `request` and read until `reader` is done; note in `phases` when, after `start`, a byte came.

    Returns when the last one came.

    The caller sets the deadline, and closes `stream` unless this returns with `reader.reusable`.
    Raises EgressError: connection_lost, protocol_error, response_too_large, or tls_failed.
    """
    now, sent = start, True
    try:
        rest = stream.send_now(request)
        if rest:
            sent = await _send_while_reading(stream, rest, reader, phases, start)
    except ssl.SSLError as error:
        raise tls_error(error, Fault.REQUEST) from error
    except OSError:
        # A receiver may answer (413, 401) and close before it has read everything: its answer still counts.
        sent = False
    while not reader.done:
        if reader.status and (reader.note or not sent):
            # What counts is known, and where the rest ends may not be.
            with trio.move_on_after(LINGER):
                while not reader.done:
                    now = await _read(stream, reader, phases, start)
            if not reader.done:
                reader.cut()
        else:
            now = await _read(stream, reader, phases, start)
    if not sent:
        reader.reusable = False
    return now


async def _read(stream: SocketStream, reader: ResponseReader, phases: Phases, start: float) -> float:
    try:
        data = await stream.receive(min(_RECEIVE_SIZE, reader.room))
    except OSError as error:
        return _lost(reader, error)
    return _take(data, reader, phases, start)


def _take(data: bytes, reader: ResponseReader, phases: Phases, start: float) -> float:
    now = trio.current_time()
    if data:
        if phases.first_byte is None:
            phases.first_byte = now - start
        reader.feed(data)
    else:
        reader.end()
    return now


def _lost(reader: ResponseReader, error: OSError) -> float:
    if isinstance(error, ssl.SSLError) and not reader.received:
        # With TLS 1.3 the host's complaint about our handshake comes only now; but so does that about a path
        # for which it wants a client's certificate.
        raise tls_error(error, Fault.REQUEST) from error
    reader.lose()
    return trio.current_time()


async def _send_while_reading(
    stream: SocketStream, rest: bytes | memoryview, reader: ResponseReader, phases: Phases, start: float
) -> bool:
    """Send the rest of a request, for which there was no room, and read meanwhile; return whether all went.

    RFC 9112 section 9.5: an answer that refuses the request ends the sending. One that does not may come
    early, too, from a receiver that goes on reading.
    """
    while rest:
        if reader.done:
            await stream.wait_for_room()
        else:
            await stream.wait_for_either()
        while not reader.done:
            try:
                data = stream.receive_now(min(_RECEIVE_SIZE, reader.room))
            except OSError as error:
                _lost(reader, error)
                return False
            if data is None:
                break
            _take(data, reader, phases, start)
        if reader.status >= REFUSAL:
            return False
        rest = stream.send_now(rest)
    return True
