"""A nameserver on loopback, over UDP and TCP, that answers as a test wants."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from daemon.egress.nameserver import Nameserver

Packets = Sequence[bytes]


@dataclass(slots=True)
class Question:
    """What was asked: a name with its final dot, "A" or "AAAA", "udp" or "tcp"."""

    name: str
    kind: str
    over: str
    query: dns.message.Message

    def reply(self, *addresses: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> dns.message.Message:
        """Return a reply with those of the addresses that are of the kind."""
        reply = dns.message.make_response(self.query)
        reply.flags |= dns.flags.RA
        reply.set_rcode(rcode)
        version = 4 if self.kind == "A" else 6
        fitting = [one for one in addresses if ip_address(one).version == version]
        if fitting:
            reply.answer.append(dns.rrset.from_text_list(self.name, 60, "IN", self.kind, fitting))
        return reply


Behaviour = Callable[[Question], Packets]


def zone(records: Mapping[str, Sequence[str]]) -> Behaviour:
    """Return a behaviour that knows these names (with a final dot) and no others."""

    def answer(question: Question) -> Packets:
        addresses = records.get(question.name)
        if addresses is None:
            return [question.reply(rcode=dns.rcode.NXDOMAIN).to_wire()]
        return [question.reply(*addresses).to_wire()]

    return answer


def silent(question: Question) -> Packets:
    """Answer nothing."""
    return []


@dataclass(slots=True)
class Served:
    """A running nameserver and what it was asked."""

    server: Nameserver
    asked: list[Question] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self.server.port

    def kinds(self, name: str) -> list[str]:
        """Return the kinds that were asked of a name, in alphabetical order."""
        return sorted(one.kind for one in self.asked if one.name == name)


@asynccontextmanager
async def nameserver(
    behaviour: Behaviour, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """Serve on `port` (0: a free one) of `address`."""
    udp, listener = _same_port(address, port)
    served = Served(Nameserver(ip_address(address), udp.getsockname()[1]))

    def packets(request: bytes, over: str) -> Packets:
        query = dns.message.from_wire(request)
        (asked,) = query.question
        question = Question(asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype), over, query)
        served.asked.append(question)
        return behaviour(question)

    async def over_udp() -> None:
        while True:
            request, peer = await udp.recvfrom(4096)
            for packet in packets(request, "udp"):
                await udp.sendto(packet, peer)

    async def over_tcp(stream: trio.SocketStream) -> None:
        request = bytes(await stream.receive_some(4096))
        for packet in packets(request[2:], "tcp"):
            await stream.send_all(struct.pack("!H", len(packet)) + packet)

    with udp:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(over_udp)
            nursery.start_soon(trio.serve_listeners, over_tcp, [listener])
            yield served
            nursery.cancel_scope.cancel()


def _same_port(address: str, port: int) -> tuple[trio.socket.SocketType, trio.SocketListener]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        udp = socket.socket(family, socket.SOCK_DGRAM)
        tcp = socket.socket(family, socket.SOCK_STREAM)
        udp.bind((address, port))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
            continue
        tcp.listen()
        return trio.socket.from_stdlib_socket(udp), trio.SocketListener(trio.socket.from_stdlib_socket(tcp))
