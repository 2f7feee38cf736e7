"""A way from a daemon to Postgres that can be cut, or carry nothing, and that can lead elsewhere."""

from collections.abc import Callable
from contextlib import suppress

import trio

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Proxy:
    """Listens on loopback and passes on to the Unix socket that `target` names at the moment."""

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._open = trio.Event()
        self._open.set()
        self._connections: set[trio.CancelScope] = set()
        self.port = 0

    def cut(self) -> None:
        """End every connection without a word to either side."""
        for scope in self._connections:
            scope.cancel()

    def hold(self) -> None:
        """Carry nothing until `release`; connections stay."""
        self._open = trio.Event()

    def release(self) -> None:
        """Carry again."""
        self._open.set()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._pass_on, [listener])

    async def _pass_on(self, client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                await self._open.wait()
                with suppress(*_GONE):
                    server = await trio.open_unix_socket(self._target())
                    async with client, server, trio.open_nursery() as nursery:
                        nursery.start_soon(self._carry, client, server, nursery.cancel_scope)
                        nursery.start_soon(self._carry, server, client, nursery.cancel_scope)
            finally:
                self._connections.discard(scope)
                await trio.aclose_forcefully(client)

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, ended: trio.CancelScope
    ) -> None:
        with suppress(*_GONE):
            while data := await source.receive_some(65536):
                await self._open.wait()
                await sink.send_all(data)
        ended.cancel()
