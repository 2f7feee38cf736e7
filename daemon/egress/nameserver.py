"""Asking one nameserver one question.

dnspython writes and reads the messages; its own asynchronous transport is not used, as that hands on a packet
that it could not read whole where the synchronous one goes on listening, and bounds no answer's length.
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import trio

from daemon.egress.addresses import Address

PORT = 53
_MAX_PACKET = 4096
_MAX_STREAM = 16 * 1024
"""Bytes of an answer over TCP: reading more would hold the loop, and nobody has so many addresses."""
_RESPONSE_TRUNCATED = 0x82
"""The bits QR and TC in a message's third byte."""


@dataclass(frozen=True, slots=True)
class Nameserver:
    """Where a nameserver listens. An IPv6 address may have a scope."""

    address: Address
    port: int = PORT


class NoUsableAnswer(Exception):
    """The nameserver cannot or does not want to tell, or cannot be reached; another may know."""


def parse_nameserver(text: str) -> Nameserver:
    """Return the nameserver of "IP", "IPv4:port" or "[IPv6]:port" (53 if left out); raise ValueError."""
    address, port = text, str(PORT)
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = (rest[1:] if rest.startswith(":") else "") if rest else port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        nameserver = ip_address(address)
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(port)
    except ValueError:
        raise ValueError(
            f'egress.resolver is {text!r}; write "system", or a nameserver as in "192.0.2.53:5353"'
        ) from None
    return Nameserver(nameserver, int(port))


async def ask(server: Nameserver, host: str, kind: dns.rdatatype.RdataType) -> list[Address]:
    """Return the addresses of one `kind` (A or AAAA) that `host` has, none if there are none or no such name.

    `host` is absolute: no search domain is tried. The caller sets the deadline. Raises NoUsableAnswer.
    """
    try:
        query = dns.message.make_query(dns.name.from_text(host, dns.name.root), kind)
        request = query.to_wire()
        reply = await _over_udp(server, query, request)
        if reply is None:
            reply = await _over_tcp(server, query, request)
        if reply.rcode() == dns.rcode.NXDOMAIN:
            return []
        if reply.rcode() != dns.rcode.NOERROR:
            raise NoUsableAnswer(dns.rcode.to_text(reply.rcode()))
        answer = reply.resolve_chaining().answer
    except dns.exception.DNSException as error:
        raise NoUsableAnswer(type(error).__name__) from error
    except OSError as error:
        raise NoUsableAnswer(error.strerror or type(error).__name__) from error
    texts = [] if answer is None else [record.address for record in answer]
    return [IPv4Address(text) if kind == dns.rdatatype.A else IPv6Address(text) for text in texts]


async def _over_udp(
    server: Nameserver, query: dns.message.QueryMessage, request: bytes
) -> dns.message.QueryMessage | None:
    """Return the reply, or None if there is more than fits into a packet.

    What is no reply to this query does not count, so that nobody can end the wait by guessing.
    """
    with trio.socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        await sock.connect(_peer(server))
        await sock.send(request)
        while True:
            packet = await sock.recv(_MAX_PACKET)
            if packet[:2] == request[:2] and packet[2:3] >= b"\x80":
                if packet[2] & _RESPONSE_TRUNCATED == _RESPONSE_TRUNCATED:
                    return None
                reply = _read(packet, query)
                if reply is not None:
                    return reply


async def _over_tcp(
    server: Nameserver, query: dns.message.QueryMessage, request: bytes
) -> dns.message.QueryMessage:
    with trio.socket.socket(_family(server), socket.SOCK_STREAM) as sock:
        await sock.connect(_peer(server))
        await trio.SocketStream(sock).send_all(struct.pack("!H", len(request)) + request)
        (length,) = struct.unpack("!H", await _exactly(sock, 2))
        if length > _MAX_STREAM:
            raise NoUsableAnswer(f"an answer of {length} bytes")
        reply = _read(await _exactly(sock, length), query)
    if reply is None:
        raise NoUsableAnswer("an answer to something else")
    return reply


async def _exactly(sock: trio.socket.SocketType, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await sock.recv(count - len(data))
        if not more:
            raise NoUsableAnswer("half an answer")
        data += more
    return data


def _read(packet: bytes, query: dns.message.QueryMessage) -> dns.message.QueryMessage | None:
    """Return the message in a packet if it is a reply to the query."""
    try:
        reply = dns.message.from_wire(packet, ignore_trailing=True)
    except Exception:  # noqa: BLE001 (whatever a stranger's bytes are made of)
        return None
    return reply if isinstance(reply, dns.message.QueryMessage) and query.is_response(reply) else None


def _family(server: Nameserver) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(server.address, IPv4Address) else socket.AF_INET6


def _peer(server: Nameserver) -> tuple[str, int] | tuple[str, int, int, int]:
    if isinstance(server.address, IPv4Address):
        return str(server.address), server.port
    address, _, scope = str(server.address).partition("%")
    return address, server.port, 0, socket.if_nametoindex(scope) if scope else 0
