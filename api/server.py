"""The API's server: accepts connections up to a limit, lets none hurt another, and drains on stop."""

import logging
from contextlib import suppress
from functools import partial

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from api.connection import GRACE, Connection, ServerLimits, throw_away
from api.http1 import error_response
from api.listeners import Listeners
from api.request_tasks import Phase

logger = logging.getLogger("hookd.api")

_REFUSAL_TIMEOUT = 1.0  # seconds
_DOOR_TIMEOUT = 2 * GRACE
_DOOR_PERIOD = 0.02  # seconds
_REQUESTS_PER_CONNECTION = 10_000


async def serve_api(
    app: QuartTrio,
    *,
    listeners: Listeners,
    limits: ServerLimits,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listeners` until `shutdown` is set and the connections have drained.

    That takes at most `drain_timeout`. The listeners are closed whatever happens. Reports their addresses
    once the application has started and connections are accepted; an exception in a start-up hook of the
    application comes out of here before that.
    """
    server = _Server(app, limits)
    try:
        async with trio.open_nursery() as background:
            app.nursery = background  # where Quart keeps an application's background tasks
            await app.startup()
            # Quart would make one for each request that is not in one already, and nothing here uses it.
            async with (
                app.app_context(),
                trio.open_nursery() as connections,
                trio.open_nursery() as accepting,
            ):
                serve = partial(
                    trio.serve_listeners, server.serve, listeners.sockets, handler_nursery=connections
                )
                await accepting.start(serve)
                task_status.started(listeners.addresses())
                await shutdown.wait()
                accepting.cancel_scope.cancel()
                connections.cancel_scope.deadline = trio.current_time() + limits.drain_timeout
                connections.start_soon(server.drain)
            await app.shutdown()
    finally:
        listeners.close()


class _Server:
    """The connections of one server and the room left for more."""

    def __init__(self, app: QuartTrio, limits: ServerLimits) -> None:
        self._app = ASGIWrapper(_asgi(app))
        self._limits = limits
        self._config = _hypercorn_config(limits)
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()
        # The clients whose move it is; first who was in good state the longest time ago.
        self._waiting: dict[Connection, None] = {}
        self._leaving: set[Connection] = set()
        self._door = trio.Lock()
        self._at_door = 0
        self._left = trio.Event()  # when the next connection has gone
        self._refusing = 0
        self._emptied = trio.Event()  # while draining

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end; what goes wrong in it ends here."""
        if not await self._enter():
            await self._refuse(stream)
            return
        connection = Connection(self._app, self._config, self._context, self._limits, stream, self._note)
        self._open.add(connection)
        try:
            await connection.run()
        except* Exception:
            repeats = {"repeats_as": "connections that ended in an unexpected error"}
            logger.exception("a connection ended in an unexpected error; the others go on", extra=repeats)
        finally:
            self._forget(connection)
            self._leaving.discard(connection)

    async def drain(self) -> None:
        """End the connections that wait for a request at once, and the others after the answer they owe.

        Whoever is slow to send or take the rest ends, too, as soon as that shows.
        """
        await self._context.terminated.set()
        while self._open:
            for connection in list(self._waiting):
                if connection.phase is Phase.IDLE or connection.is_behind():
                    connection.give_way(politely=True)
            with trio.move_on_after(GRACE / 2):
                await self._emptied.wait()

    def _note(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        if connection.waits and connection in self._open:
            self._waiting[connection] = None

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        if self._at_door:
            self._left.set()
            self._left = trio.Event()
        if not self._open and self._context.terminated.is_set():
            self._emptied.set()

    async def _enter(self) -> bool:
        """Wait for room, in the order of coming, and for as long as it takes to tell who is slow."""
        if self._at_door >= self._limits.max_connections:
            return False
        self._at_door += 1
        try:
            with trio.move_on_after(_DOOR_TIMEOUT):
                async with self._door:
                    while len(self._open) >= self._limits.max_connections and not self._make_room():
                        with trio.move_on_after(_DOOR_PERIOD):  # somebody leaves, or time shows who is slow
                            await self._left.wait()
                return True
            return False
        finally:
            self._at_door -= 1

    def _make_room(self) -> bool:
        """End the connection whose client has let us wait longest, so that those who wait lock nobody out.

        Whoever comes is thus always the last to go, and what arrives at once is always answered. As many as
        there may be connections are still told why at a time; beyond that they are cut off.
        """
        longest = next((one for one in self._waiting if one.may_give_way()), None)
        if longest is None:
            return False
        self._forget(longest)
        self._leaving.add(longest)
        longest.give_way(politely=len(self._leaving) <= self._limits.max_connections)
        return True

    async def _refuse(self, stream: trio.SocketStream) -> None:
        # Beyond as many refusals at a time as connections, a client is cut off without a word.
        if self._refusing >= self._limits.max_connections:
            return
        self._refusing += 1
        try:
            with suppress(trio.BrokenResourceError), trio.move_on_after(_REFUSAL_TIMEOUT):
                await stream.send_all(_refusal())
            await throw_away(stream, _REFUSAL_TIMEOUT)
        finally:
            self._refusing -= 1


def _refusal() -> bytes:
    status, headers, body = error_response(503)
    http = h11.Connection(h11.SERVER)
    parts = [http.send(h11.Response(status_code=status, headers=headers)), http.send(h11.Data(data=body))]
    return b"".join(part for part in parts if part)


def _asgi(app: QuartTrio) -> ASGIFramework:
    return app


def _hypercorn_config(limits: ServerLimits) -> Config:
    config = Config()
    config.h11_max_incomplete_size = limits.max_header
    config.keep_alive_max_requests = _REQUESTS_PER_CONNECTION
    config.include_server_header = False
    config.errorlog = logger
    config.accesslog = None  # it copies the environment for each request; the application logs instead
    return config
