"""Telling kept connections that something has come, through one epoll for all of them.

Trio arms a socket anew for each wait and keeps books about it, which is a seventh of a delivery. Here a
socket is registered once, for as long as it is open, and Trio waits for the epoll alone.
"""

import select
from collections.abc import Callable

import trio


class SharedEpoll:
    """Knows whom to tell. Run `serve`, or nobody is told."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._tell: dict[int, Callable[[int], None]] = {}

    def watch(self, fileno: int, tell: Callable[[int], None]) -> None:
        """Call `tell` with epoll's events once whenever something, or the end, comes on this socket.

        It is told but once (EPOLLET): what has been left unread is not told again. Call `forget` before the
        socket is closed.
        """
        self._epoll.register(fileno, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._tell[fileno] = tell

    def forget(self, fileno: int) -> None:
        """Watch it no longer."""
        self._epoll.unregister(fileno)
        del self._tell[fileno]

    async def serve(self) -> None:
        """Tell what has come, for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fileno, events in self._epoll.poll(0):
                self._tell[fileno](events)
