"""Receivers on loopback, good and bad, and an exchange that may talk to them."""

import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from uuid import UUID

import pytest
import trio

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.answer import Answer
from daemon.egress.dialer import Dialer
from daemon.egress.errors import EgressError
from daemon.egress.exchange import Exchange
from daemon.egress.guard import Guard
from daemon.egress.pool import Pool
from daemon.egress.resolver import Resolver
from daemon.egress.tls import client_context
from daemon.egress.url import parse_url

LOOPBACK = "127.0.0.0/8"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Handler = Callable[[trio.SocketStream], Awaitable[None]]


class FakeResolver:
    """Gives the scripted answers one after another, the last one for ever, and counts the questions."""

    def __init__(self, *answers: Sequence[str] | EgressError) -> None:
        self._answers = list(answers or [["127.0.0.1"]])
        self.asked = 0

    async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, EgressError):
            raise answer
        return [ip_address(text) for text in answer]


class StuckResolver:
    """Never answers; `asked` is set by the first question."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
        self.asked.set()
        await trio.sleep_forever()
        raise AssertionError


def make_exchange(
    resolver: Resolver | None = None,
    *,
    pool: Pool | None = None,
    allow: Sequence[str] = (LOOPBACK,),
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout: float = 5.0,
    max_response: int = 64 * 1024,
    excerpt: int = 4 * 1024,
) -> Exchange:
    """Return an exchange that takes every name for 127.0.0.1 unless `resolver` knows better."""
    exchange = Exchange(
        dialer=Dialer(
            guard=Guard(resolver or FakeResolver(), AddressRules(allow=allow)),
            ssl_context=ssl_context or client_context(),
            connect_timeout=connect_timeout,
        ),
        pool=kept_pool(Pool() if pool is None else pool),
        max_response=max_response,
        excerpt=excerpt,
    )
    return served(exchange)


def served(exchange: Exchange) -> Exchange:
    """Return the exchange, served until the test ends."""
    trio.lowlevel.spawn_system_task(exchange.serve)
    return exchange


_pools: list[Pool] = []


def kept_pool(pool: Pool) -> Pool:
    """Return the pool, closed when the test ends."""
    _pools.append(pool)
    return pool


@pytest.fixture(autouse=True)
def closed_pools() -> Iterator[None]:
    """Close the pools that a test made, so that only a forgotten socket is left for the garbage collector."""
    yield
    while _pools:
        _pools.pop().close()


async def post(
    exchange: Exchange,
    port: int,
    body: bytes = b"{}",
    *,
    scheme: str = "http",
    timeout: float = 5.0,
    owner: UUID | None = None,
) -> Answer:
    """Post `body` to https://receiver.test:PORT/hook (or http)."""
    url = parse_url(f"{scheme}://receiver.test:{port}/hook", https_only=False)
    return await exchange.post(url, [(b"X-Test", b"1")], body, timeout=timeout, owner=owner)


@asynccontextmanager
async def receiver(handler: Handler, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve `address` with `handler` and yield the port; a peer that goes away is no error."""

    async def guarded(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
                await handler(stream)

    listener = (await trio.open_tcp_listeners(port, host=address))[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, guarded, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """Return one whole request, or nothing if the peer closed before it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    while len(body) < length:
        more = await stream.receive_some(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Handler:
    """Return a handler that reads a request before each answer, gives the last one for ever, then closes."""

    async def handler(stream: trio.SocketStream) -> None:
        left = list(answers)
        while await read_request(stream):
            await stream.send_all(left.pop(0) if len(left) > 1 else left[0])

    return handler


def closing_after(answer: bytes) -> Handler:
    """Return a handler that reads one request, sends `answer` and closes."""

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(answer)

    return handler


def reset(stream: trio.SocketStream) -> None:
    """Make closing `stream` send a RST instead of a FIN."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def black_hole(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port of `address` where connecting neither succeeds nor fails: its backlog is full."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, port))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket(family)
                fillers.append(filler)
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def unused_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count
