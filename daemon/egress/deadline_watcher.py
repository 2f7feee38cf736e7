"""Ending requests that take too long, many with one look.

A cancel scope around each request would cost a tenth of a delivery. Here it costs an entry in a dictionary,
and one task looks through them all.
"""

import trio

from daemon.egress.socket_stream import SocketStream

PERIOD = 0.05
"""Seconds between two looks, by which a request may end late."""


class DeadlineWatcher:
    """Knows when each stream's request is to be ended. Run `serve`, or nothing ends."""

    def __init__(self) -> None:
        self._due: dict[SocketStream, float] = {}
        self._some = trio.Event()
        self._served = False

    def watch(self, stream: SocketStream, due: float) -> None:
        """Let waiting for `stream` fail (`trio.ClosedResourceError`) from `due` on, by Trio's clock."""
        if not self._due:
            if not self._served:
                stream.close()
                raise RuntimeError("nothing would end this request; run Exchange.serve")
            self._some.set()
        self._due[stream] = due

    def forget(self, stream: SocketStream) -> None:
        """Watch it no longer."""
        del self._due[stream]

    async def serve(self) -> None:
        """End what is overdue, for ever; at rest while nothing is watched."""
        self._served = True
        while True:
            await self._some.wait()
            self._some = trio.Event()
            while self._due:
                now = trio.current_time()
                for stream in [stream for stream, due in self._due.items() if due <= now]:
                    stream.interrupt()
                await trio.sleep(PERIOD)
