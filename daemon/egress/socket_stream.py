"""A non-blocking socket, plain or TLS, awaited through Trio.

The stdlib's sockets are used directly rather than `trio.SocketStream` and `trio.SSLStream`, for three
reasons: closing needs no await, so that no cancellation can leak a socket; OpenSSL reads one record at a
time, so that nothing a receiver sent can hide in a buffer between two requests; and it is faster.
"""

import errno
import os
import select
import socket
import ssl
from ipaddress import IPv6Address

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Fault
from daemon.egress.response import ResponseReader
from daemon.egress.shared_epoll import SharedEpoll
from daemon.egress.source import ANY_SOURCE, Sources

_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); the socket module does not have it
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class SocketStream:
    """One connected socket. One task uses it at a time; whoever holds it closes it or hands it on."""

    __slots__ = (
        "_both",
        "_epoll",
        "_fileno",
        "_more",
        "_poll",
        "_sock",
        "_tls",
        "_unsure",
        "_waiting",
        "idle_since",
        "opened",
        "reader",
    )

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._fileno = sock.fileno()
        self._poll = select.poll()
        self._poll.register(self._fileno, select.POLLIN)
        self._epoll: SharedEpoll | None = None
        self._both: select.epoll | None = None
        self._waiting: trio.lowlevel.Task | None = None  # for what comes
        self._more = False  # to read, perhaps
        # Whether there may be more though a read came short: OpenSSL reads a record at a time, and that the
        # peer has ended is told but once.
        self._unsure = self._tls is not None
        self.reader = ResponseReader()
        self.opened = trio.current_time()
        self.idle_since = self.opened

    def new_session(self) -> ssl.SSLSession | None:
        """Return the TLS session, to resume later with the same host; None if this is itself a resumed one.

        Call it after the first answer, with which the peer's tickets have come. It copies: 0.15 ms.
        """
        tls = self._tls
        return None if tls is None or tls.session_reused else tls.session

    def send_now(self, data: bytes | memoryview) -> bytes | memoryview:
        """Send what goes without waiting and return the rest; raise OSError (ssl.SSLError) if nothing can."""
        while True:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return data
            if sent == len(data):
                return b""
            data = memoryview(data)[sent:]

    def receive_now(self, size: int) -> bytes | None:
        """Return as `receive` what is there already; None if nothing is."""
        try:
            return self._sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    async def wait_for_either(self) -> None:
        """Wait until there is something to read, or room to write.

        The two are watched by an epoll of their own, so that one task can wait for both.
        """
        if self._both is None:
            self._both = select.epoll()
            self._both.register(self._fileno, select.EPOLLIN | select.EPOLLOUT)
        await trio.lowlevel.wait_readable(self._both.fileno())

    async def wait_for_room(self) -> None:
        """Wait until there is room to write."""
        await trio.lowlevel.wait_writable(self._fileno)

    async def receive(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; raise OSError (ssl.SSLError) if the peer is gone."""
        sock = self._sock
        while True:
            # Waiting first: an answer is hardly ever there already, and each read is thus a checkpoint.
            if self._tls is None or not self._tls.pending():
                if self._epoll is None or (self._more and self._poll.poll(0)):
                    await trio.lowlevel.wait_readable(self._fileno)
                else:
                    await self._wait()
            try:
                data = sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._more = False
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._fileno)
            else:
                self._more = self._unsure or len(data) == size
                return data

    def keep(self, epoll: SharedEpoll) -> None:
        """Learn from `epoll` what comes, from now on: worth while for more requests than one."""
        epoll.watch(self._fileno, self._has_come)
        self._epoll = epoll

    def is_quiet(self) -> bool:
        """Tell whether the peer has sent nothing more and has not closed, so that another request may go.

        The kernel is asked: what came since the loop's last turn has not been told of, and would be taken for
        the answer to the next request.
        """
        return not self._poll.poll(0) and (self._tls is None or not self._tls.pending())

    def interrupt(self) -> None:
        """Let the task that waits for this stream, if any, fail with `trio.ClosedResourceError`."""
        if self._waiting is None:
            trio.lowlevel.notify_closing(self._fileno)
            if self._both is not None:
                trio.lowlevel.notify_closing(self._both.fileno())
        else:
            self._wake()

    def close(self) -> None:
        """Close the socket at once; may be called again."""
        if self._epoll is not None:
            self._epoll.forget(self._fileno)
            self._epoll = None
        if self._both is not None:
            self._both.close()
        self._sock.close()

    async def _wait(self) -> None:
        self._more = False
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        if not self._more:
            raise trio.ClosedResourceError("the wait for this stream was interrupted")

    def _has_come(self, events: int) -> None:
        self._more = True
        if events != select.EPOLLIN:
            self._unsure = True
        self._wake()

    def _wake(self) -> None:
        task = self._waiting
        if task is not None:
            self._waiting = None
            trio.lowlevel.reschedule(task)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED


async def connect(
    address: Address, port: int, *, timeout: float, sources: Sources = ANY_SOURCE
) -> socket.socket:
    """Return a non-blocking socket connected to `address` and `port` within `timeout` seconds.

    It is sent from what `sources` has for the address.

    Raises EgressError: connect_refused, connect_timeout, or connect_failed for anything else.
    """
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _connect_error(error.errno or 0) from error
    try:
        with trio.move_on_after(timeout):
            # A request is written at once, and must not wait for the answer to what went before it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (source := sources.of(address)) is not None:
                _bind(sock, source)
            code = sock.connect_ex((str(address), port))
            if code == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise _connect_error(code)
            return sock
        raise EgressError(
            "connect_timeout", "The host did not accept a connection in time; check its firewall."
        )
    except BaseException:
        sock.close()
        raise


def _bind(sock: socket.socket, source: Address) -> None:
    # The port is chosen when it is known whereto, else there would be 28,000 for all receivers together.
    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((str(source), 0))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise EgressError(
            "connect_failed",
            "This daemon cannot send from the address that it is set to send from.",
            note=f"egress.source_address has {source}, which cannot be bound ({reason})",
            fault=Fault.DAEMON,
        ) from error


def _connect_error(code: int) -> EgressError:
    if code == errno.ECONNREFUSED:
        return EgressError(
            "connect_refused", "The host refused the connection; check that its server is running."
        )
    if code == errno.ETIMEDOUT:
        return EgressError(
            "connect_timeout", "The host did not accept a connection in time; check its firewall."
        )
    if code in _SHORTAGES:
        return EgressError(
            "connect_failed",
            f"This daemon cannot open a connection ({os.strerror(code)}); raise its limit.",
            fault=Fault.DAEMON,
        )
    return EgressError("connect_failed", f"The host could not be connected to ({os.strerror(code)}).")
