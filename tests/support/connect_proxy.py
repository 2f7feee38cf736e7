"""An HTTP proxy on loopback that makes tunnels, or does what else a test wants."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.support.egress_harness import receiver

Answer = Callable[[str], bytes | None]
"""From "host:port" to the proxy's own answer; None: it makes the tunnel."""


@dataclass(slots=True)
class ConnectProxy:
    """What the proxy was asked; `port` is where it listens on 127.0.0.1."""

    port: int = 0
    targets: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    probes: int = 0


async def read_head(stream: trio.SocketStream) -> bytes:
    """Return the head of a request, without its empty line."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(4096)
        if not more:
            return b""
        data += more
    return data.partition(b"\r\n\r\n")[0]


@asynccontextmanager
async def connect_proxy(
    answer: Answer = lambda target: None, *, alive: bool = True, port: int = 0
) -> AsyncIterator[ConnectProxy]:
    """Serve; names are connected to at 127.0.0.1. `alive`: it answers what is no CONNECT."""
    seen = ConnectProxy()

    async def handler(stream: trio.SocketStream) -> None:
        head = await read_head(stream)
        method, _, rest = head.partition(b" ")
        if method != b"CONNECT":
            seen.probes += 1
            if not alive:
                await trio.sleep_forever()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        target = rest.partition(b" ")[0].decode()
        seen.targets.append(target)
        seen.heads.append(head)
        own = answer(target)
        if own is None:
            host, _, port = target.rpartition(":")
            inner = await trio.open_tcp_stream(host if host[0].isdigit() else "127.0.0.1", int(port))
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            await _join(stream, inner)
        elif own:
            await stream.send_all(own)
            await trio.sleep(0 if own.endswith(b"closing") else 5)
        else:
            await trio.sleep_forever()

    async with receiver(handler, port=port) as seen.port:
        yield seen


async def _join(one: trio.SocketStream, other: trio.SocketStream) -> None:
    async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()

    copies: list[Callable[[], Awaitable[None]]] = [lambda: copy(one, other), lambda: copy(other, one)]
    async with other, trio.open_nursery() as nursery:
        for each in copies:
            nursery.start_soon(each)
