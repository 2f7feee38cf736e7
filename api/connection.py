"""One client connection: HTTP/1.1 through Hypercorn's protocol classes, with a deadline for every wait.

Hypercorn 0.18 leaves open what a server on a network needs: limits for reading and writing, an end for a
connection that a client keeps half open, a body read at the application's pace. That is added here.
"""

import os
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from api.http1 import Http1
from api.request_tasks import Answers, Phase

_READ_SIZE = 65536
_WRITE_SIZE = 65536
_LINGER = 2.0  # seconds
_PACE = 16 * 1024  # bytes a second

GRACE = 0.5
"""Seconds for which a client that does not keep the pace is not yet behind."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of the server; times in seconds.

    `idle_timeout` counts between requests. `read_timeout` is how long a request may let the server wait for
    it, and `write_timeout` an answer: what moves at 16 KiB a second or more may take longer. `drain_timeout`
    counts from the wish to stop to the end of the last connection. `max_header` is in bytes.
    """

    max_connections: int = 1000
    max_header: int = 16 * 1024
    idle_timeout: float = 60.0
    read_timeout: float = 30.0
    write_timeout: float = 30.0
    drain_timeout: float = 10.0


class Connection(TCPServer):
    """One connection; `run` serves it to its end.

    `on_wait` hears whenever the server begins to wait for the client, or again after the client has kept the
    pace, and whenever it does so no more (`waits`).
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        limits: ServerLimits,
        stream: trio.SocketStream,
        on_wait: Callable[["Connection"], None],
    ) -> None:
        # Hypercorn's annotation knows TLS streams only; its code takes both.
        super().__init__(app, config, context, LifespanState(), cast(Any, stream))
        self.phase = Phase.IDLE
        self._socket_stream = stream
        self._limits = limits
        self._on_wait = on_wait
        self._whole = trio.CancelScope()
        # The reader runs in this scope, and each change of phase moves its deadline.
        self._clock = trio.CancelScope()
        self._patience = inf  # seconds that the rest of a request may take, while it is not waited for
        self._writing: trio.CancelScope | None = None
        self._since = -inf  # when the client was last in good state
        self._leaves = False  # has given way
        self._lingers = False
        self._ended = False  # the client sends no more
        self._broken = False  # the client cannot be written to
        self._http: Http1
        self._answers: Answers

    async def run(self) -> None:
        """Serve requests until either side ends the connection. A request under way is answered first."""
        socket = self._socket_stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except OSError:
            return  # the client has gone already
        with self._whole:
            async with trio.open_nursery() as nursery:
                self._answers = Answers(nursery, self)
                self._http = Http1(
                    self.app,
                    self.config,
                    self.context,
                    self._answers,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                self.enter(Phase.IDLE)
                await self._read_data()
            if not self._ended and not self._broken and (self._http.input_left or self._more_has_come()):
                await self._linger()

    @property
    def waits(self) -> bool:
        """Tell whether the next move is the client's, unless a handler has yet to take what has come."""
        return self._writing is not None or self._lingers or self.phase in (Phase.IDLE, Phase.READING)

    @property
    def pauses(self) -> bool:
        """Tell whether what has come of the next request waits, and the reader with it, for an answer."""
        return self._http.pauses

    async def ask_for_body(self) -> None:
        """Tell a client that keeps its body back that it may come."""
        await self._http.ask_for_body()

    def may_give_way(self) -> bool:
        """Tell whether the connection may be ended for the sake of another one.

        One that waits for a request or for the rest of a header may (RFC 9112 section 9.5); one in the middle
        of a body or of an answer only once the client has fallen behind the pace.
        """
        if self._writing is None and (
            self.phase is Phase.IDLE or self._lingers or self._http.header_expected
        ):
            return True
        return self.is_behind()

    def is_behind(self) -> bool:
        """Tell whether the client has kept the server waiting, at less than the pace, for a while."""
        waited_for = self._lingers or self._writing is not None or self._clock.deadline < inf
        return waited_for and trio.current_time() - self._since >= GRACE

    def give_way(self, *, politely: bool) -> None:
        """End, as if the client's time were up; unless `politely`, without an answer."""
        self._leaves = True
        self._whole.deadline = trio.current_time() + 2 * _LINGER
        if self._lingers or not politely:
            self._whole.cancel()
        elif self._writing is not None:
            self._writing.cancel()
        elif self.phase is Phase.READING:
            self._clock.deadline = -inf
        else:
            self.enter(Phase.CLOSING)

    def enter(self, phase: Phase) -> None:
        """Note what the connection waits for now, and until when."""
        if self.phase is Phase.CLOSING:
            return
        if phase is Phase.IDLE and self.context.terminated.is_set():
            phase = Phase.CLOSING
        if phase in (Phase.IDLE, Phase.READING) and self._leaves:
            phase = Phase.CLOSING
        self.phase = phase
        match phase:
            case Phase.IDLE:
                self._clock.deadline = trio.current_time() + self._limits.idle_timeout
            case Phase.READING:
                self._patience = self._limits.read_timeout
                self._clock.deadline = trio.current_time() + self._patience
            case Phase.ANSWERING:
                if self._clock.deadline < inf:
                    self._clock.deadline = inf
            case Phase.CLOSING:
                self._end_reading()
        self._stand()

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
                    data = await self._receive()
                except (OSError, trio.ClosedResourceError):
                    self._broken = True
                    data = b""
                self._ended = not data
                if self.phase is Phase.IDLE and data:
                    self.enter(Phase.READING)
                await self._take(data)
        if self._clock.cancelled_caught and self.phase is Phase.READING:
            await self._http.too_slow()
        # Half a body will not become whole: who waits for the rest of it hears of that.
        await self._http.handle(Closed())

    def _end_reading(self) -> None:
        if not self._answers.reader_answers:  # an answer comes to its end, and then the reader does
            self._clock.cancel()

    def _more_has_come(self) -> bool:
        """Tell whether something waits to be read, which came while the reader answered."""
        poll = select.poll()
        poll.register(self._socket_stream.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _receive(self) -> bytes:
        """Return what comes next. Waiting first: a request is hardly ever there already."""
        socket = self._socket_stream.socket
        while True:
            await trio.lowlevel.wait_readable(socket)
            with suppress(BlockingIOError):
                return os.read(socket.fileno(), _READ_SIZE)

    async def _take(self, data: bytes) -> None:
        """Handle what the client sent. The time that takes is ours, and a body that comes on buys more."""
        reading = self.phase is Phase.READING
        if reading:
            self._patience = self._clock.deadline - trio.current_time()
            self._clock.deadline = inf
        await self._http.handle(RawData(data))
        # A deadline may have passed in the very turn in which the rest came.
        await self._answers.begin(beside=self._clock.cancel_called)
        if self.phase is Phase.CLOSING:
            self._end_reading()
        if self.phase is Phase.READING and self._http.nothing_begun:
            self.enter(Phase.IDLE)
        if self.phase is not Phase.READING or self._ended:
            return
        if not self._http.header_expected:
            self._patience += len(data) / _PACE
            if self._patience >= self._limits.read_timeout:
                self._patience = self._limits.read_timeout
                self._stand()
        self._clock.deadline = trio.current_time() + self._patience

    async def _write(self, data: bytes) -> None:
        if self._broken or not data:
            return
        data = self._written_at_once(data)
        if not data:
            return
        try:
            with trio.CancelScope() as scope:
                async with self.send_lock:
                    self._writing = scope
                    await self._send(data, scope)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
        finally:
            self._writing = None
        if self._broken or scope.cancelled_caught:
            self._broken = True
            self.enter(Phase.CLOSING)
            await self._http.handle(Closed())

    def _written_at_once(self, data: bytes) -> bytes:
        """Write what the kernel takes without waiting; return the rest. Nearly every answer needs no more."""
        if self.send_lock.locked() or len(data) > _WRITE_SIZE:
            return data
        try:
            return data[os.write(self._socket_stream.socket.fileno(), data) :]
        except OSError:
            return data  # whoever waits until it can be written meets the error again, if it is one

    async def _send(self, data: bytes, scope: trio.CancelScope) -> None:
        limit, patience = self._limits.write_timeout, self._limits.write_timeout
        view = memoryview(data)
        for begin in range(0, len(data), _WRITE_SIZE):
            piece = view[begin : begin + _WRITE_SIZE]
            scope.deadline = trio.current_time() + patience
            if patience == limit:
                self._stand()
            await self._socket_stream.send_all(piece)
            patience = min(limit, scope.deadline - trio.current_time() + len(piece) / _PACE)

    def _stand(self) -> None:
        """Note that the client is in good state."""
        self._since = trio.current_time()
        self._on_wait(self)

    async def _linger(self) -> None:
        """Throw away what the client still sends: to close at once would reset the connection and may destroy
        our answer on its way (RFC 9112 section 9.6).
        """
        self._lingers = True
        self._stand()
        await throw_away(self._socket_stream, _LINGER)


async def throw_away(stream: trio.SocketStream, seconds: float) -> None:
    """Tell the client that nothing more comes, and read without use until it ends too, at most `seconds`."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_after(seconds):
        await stream.send_eof()
        while await stream.receive_some(_READ_SIZE):
            pass
