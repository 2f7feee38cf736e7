"""One client connection: HTTP/1.1 through Hypercorn's protocol classes, with a deadline for every wait.

Hypercorn 0.18 leaves open what a server on a network needs: limits for reading and writing, an end for a
connection that a client keeps half open, a body read at the application's pace. That is added here.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    LifespanState,
    Scope,
)
from hypercorn.utils import parse_socket_addr

from api.http1 import Http1

logger = logging.getLogger("hookd.api")

_READ_SIZE = 65536
_LINGER = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of the server; times in seconds.

    `idle_timeout` counts between requests, `read_timeout` from a request's first byte to its last,
    `write_timeout` for each piece of an answer, `drain_timeout` from the wish to stop to the end of the last
    connection. `max_header` is in bytes.
    """

    max_connections: int = 1000
    max_header: int = 16 * 1024
    idle_timeout: float = 60.0
    read_timeout: float = 30.0
    write_timeout: float = 30.0
    drain_timeout: float = 10.0


class Phase(Enum):
    """What a connection waits for: its next request, the rest of one, our answer, or its end."""

    IDLE = auto()
    READING = auto()
    ANSWERING = auto()
    CLOSING = auto()


class Connection(TCPServer):
    """One connection; `run` serves it to its end. `on_phase` hears of every change of `phase`."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        limits: ServerLimits,
        stream: trio.SocketStream,
        on_phase: Callable[["Connection"], None],
    ) -> None:
        # Hypercorn's annotation knows TLS streams only; its code takes both.
        super().__init__(app, config, context, LifespanState(), cast(Any, stream))
        self.phase = Phase.IDLE
        self._socket_stream = stream
        self._limits = limits
        self._on_phase = on_phase
        # The reader runs in this scope, and each change of phase moves its deadline.
        self._clock = trio.CancelScope()
        self._ended = False  # the client sends no more
        self._broken = False  # the client cannot be written to
        self._http: Http1

    async def run(self) -> None:
        """Serve requests until either side ends the connection. A request under way is answered first."""
        socket = self._socket_stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except OSError:
            return  # the client has gone already
        async with trio.open_nursery() as nursery:
            self._http = Http1(
                self.app,
                self.config,
                self.context,
                _Tasks(nursery, self),
                ConnectionState(self.state),
                False,
                client,
                server,
                self.protocol_send,
            )
            self.enter(Phase.IDLE)
            await self._read_data()
        if self._http.input_left and not self._ended and not self._broken:
            await self._linger()

    def enter(self, phase: Phase) -> None:
        """Note what the connection waits for now, and until when."""
        if self.phase is Phase.CLOSING:
            return
        if phase is Phase.IDLE and self.context.terminated.is_set():
            phase = Phase.CLOSING
        self.phase = phase
        match phase:
            case Phase.IDLE:
                self._clock.deadline = trio.current_time() + self._limits.idle_timeout
            case Phase.READING:
                self._clock.deadline = trio.current_time() + self._limits.read_timeout
            case Phase.ANSWERING:
                self._clock.deadline = inf
            case Phase.CLOSING:
                self._clock.cancel()
        self._on_phase(self)

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks for: write, end the connection, or wait for the next request."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self.enter(Phase.CLOSING)
            await self._http.handle(event)
        elif isinstance(event, Updated) and event.idle:
            self.enter(Phase.READING if self._http.connection.trailing_data[0] else Phase.IDLE)

    async def _read_data(self) -> None:
        with self._clock:
            while not self._ended:
                try:
                    data = bytes(await self._socket_stream.receive_some(_READ_SIZE))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._broken = True
                    data = b""
                self._ended = not data
                if self.phase is Phase.IDLE and data:
                    self.enter(Phase.READING)
                await self._http.handle(RawData(data))
        if self._clock.cancelled_caught and self.phase is Phase.READING:
            await self._http.too_slow()
        # Half a body will not become whole: who waits for the rest of it hears of that.
        await self._http.handle(Closed())

    async def _write(self, data: bytes) -> None:
        if self._broken or not data:
            return
        try:
            with trio.fail_after(self._limits.write_timeout):
                async with self.send_lock:
                    await self._socket_stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._broken = True
            self.enter(Phase.CLOSING)
            await self._http.handle(Closed())

    async def _linger(self) -> None:
        """Throw away what the client still sends: to close at once would reset the connection and may destroy
        our answer on its way (RFC 9112 section 9.6).
        """
        await throw_away(self._socket_stream, _LINGER)


async def throw_away(stream: trio.SocketStream, seconds: float) -> None:
    """Tell the client that nothing more comes, and read without use until it ends too, at most `seconds`."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_after(seconds):
        await stream.send_eof()
        while await stream.receive_some(_READ_SIZE):
            pass


class _Tasks(TaskGroup):
    """Runs the application for Hypercorn's streams, in the connection's nursery."""

    def __init__(self, nursery: trio.Nursery, connection: Connection) -> None:
        super().__init__()
        self._nursery: trio.Nursery = nursery
        self._connection = connection

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application for one request; the result takes what the client sends as it is read."""
        # Room for one piece: who does not read a body does not fill the memory with it.
        arriving, pieces = trio.open_memory_channel[ASGIReceiveEvent](1)

        async def receive() -> ASGIReceiveEvent:
            try:
                return await pieces.receive()
            except trio.EndOfChannel:
                return {"type": "http.disconnect"}

        async def deliver(event: ASGIReceiveEvent) -> None:
            if event["type"] != "http.request":
                arriving.close()  # never waits, and frees a reader that does
                return
            if not event["more_body"]:
                self._connection.enter(Phase.ANSWERING)
            # Once the answer is given, nobody wants the rest of the body.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await arriving.send(event)

        self._nursery.start_soon(self._run_app, app, scope, receive, send)
        return deliver

    async def _run_app(
        self,
        app: AppWrapper,
        scope: Scope,
        receive: Callable[[], Awaitable[ASGIReceiveEvent]],
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> None:
        try:
            await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
        except Exception:
            logger.exception("a request ended in an unexpected error; its connection is closed")
            await send(None)  # Hypercorn answers 500 if there was no answer yet
            self._connection.enter(Phase.CLOSING)
        else:
            await send(None)  # Hypercorn ends what the application left open
