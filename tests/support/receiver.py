"""A receiver of webhooks for tests: fast enough to be no bottleneck, and it keeps all that it was sent."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httptools
import trio


@dataclass(slots=True)
class Received:
    """One request as it came. `at`: the clock of the process, in seconds; `port`: where it came."""

    at: float
    port: int
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        """The `webhook-id`."""
        return self.headers["webhook-id"]


@dataclass(slots=True)
class Reply:
    """What the receiver answers; status 0 closes the connection without a word."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)


Behaviour = Callable[[Received], Awaitable[Reply]]


async def accept(request: Received) -> Reply:
    """Answer 204 at once."""
    return Reply()


async def hang(request: Received) -> Reply:
    """Take the request and never answer."""
    await trio.sleep_forever()
    raise AssertionError


class Receiver:
    """Listens on loopback; `requests` grows as requests come, `in_flight` counts those not yet answered."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Received] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.ports: list[int] = []
        self._grown = trio.Event()

    def url(self, path: str = "/", *, port: int = 0) -> str:
        """Return the URL of `path` on the receiver's `port`-th listener."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Return once `done()`, which is asked whenever a request has come. Error: `trio.TooSlowError`."""
        with trio.fail_after(seconds):
            while not done():
                self._grown = trio.Event()
                await self._grown.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        await self.serve_stream(stream, stream.socket.getsockname()[1])

    async def serve_stream(self, stream: trio.abc.Stream, port: int) -> None:
        """Serve one connection that may be encrypted."""
        parser = _Parser()
        try:
            while True:
                data = await stream.receive_some(65536)
                if not data:
                    return
                for request in parser.feed(bytes(data), port):
                    self.requests.append(request)
                    self.in_flight += 1
                    self.most_in_flight = max(self.most_in_flight, self.in_flight)
                    self._grown.set()
                    try:
                        reply = await self.behaviour(request)
                    finally:
                        self.in_flight -= 1
                    if not reply.status:
                        return
                    await stream.send_all(_encode(reply))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def receiving(behaviour: Behaviour = accept, *, ports: int = 1) -> AsyncIterator[Receiver]:
    """Run a receiver with so many listeners, each a host of its own to the daemon, for the block."""
    receiver = Receiver(behaviour)
    async with trio.open_nursery() as nursery:
        for _ in range(ports):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
            receiver.ports.append(listeners[0].socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, receiver.serve, listeners)
        yield receiver
        nursery.cancel_scope.cancel()


class _Parser:
    """Collects whole requests of one connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[tuple[str, dict[str, str], bytes]] = []
        self.on_message_begin()

    def feed(self, data: bytes, port: int) -> list[Received]:
        self._parser.feed_data(data)
        done, self._done = self._done, []
        now = time.monotonic()
        return [Received(now, port, path, headers, body) for path, headers, body in done]

    def on_message_begin(self) -> None:
        self._path, self._body = b"", b""
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._done.append((self._path.decode("latin-1"), self._headers, self._body))


def _encode(reply: Reply) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    length = "" if reply.status in (204, 304) else "content-length: 0\r\n"
    return f"HTTP/1.1 {reply.status} X\r\n{fields}{length}\r\n".encode()
