"""The operator's HTTP proxy: which origins it serves, and tunnels through it (RFC 9110 section 9.3.6).

A proxy that is at fault itself (`Fault.PROXY`) says nothing about a receiver, and costs no delivery an
attempt. One that answers, but does not get through to the receiver or does not let us, is judged as the
receiver is: without a proxy that would be `connect_failed` or `address_forbidden`.
"""

import base64
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import trio

from daemon.egress.errors import EgressError, Fault
from daemon.egress.url import Origin

_MAX_HEAD = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_SILENT = "The proxy that hookd sends through did not say in time whether the host can be reached."
# tinyproxy answers 401 to wrong credentials, and 407 where there are none.
_AUTH_REQUIRED, _TOO_MANY_REQUESTS = (401, 407), 429


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and what goes through it.

    `credentials`: "user:password", empty if it wants none. `resolves`: names are handed to the proxy as they
    are, so that nobody here can check the addresses they stand for. `serves` tells for an origin's host and
    port whether its requests go through the proxy; those to this machine never do.
    """

    host: str
    port: int
    credentials: bytes = field(default=b"", repr=False)
    resolves: bool = False
    serves: Callable[[Origin], bool] = lambda origin: True

    @property
    def origin(self) -> Origin:
        """Where to connect to."""
        return Origin("http", self.host, self.port)

    def is_for(self, origin: Origin) -> bool:
        """Return whether requests to `origin` go through the proxy."""
        return not _is_this_machine(origin.host) and self.serves(origin)

    def request(self, host: str, port: int) -> bytes:
        """Return the request for a tunnel to `host`, a name or an address."""
        authority = b"%s:%d" % ((f"[{host}]" if ":" in host else host).encode("ascii"), port)
        lines = [b"CONNECT %s HTTP/1.1" % authority, b"Host: %s" % authority]
        if self.credentials:
            lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(self.credentials))
        return b"\r\n".join([*lines, b"", b""])


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def open_tunnel(sock: socket.socket, request: bytes, *, timeout: float) -> None:
    """Send the request for a tunnel over `sock`, connected to the proxy; from then on it is the host's.

    Raises EgressError: proxy_auth_required and proxy_failed (`Fault.PROXY`), proxy_refused and
    proxy_connect_failed (the host's), or proxy_timeout after `timeout` seconds, of which nobody can tell
    whose it is. The socket is left open.
    """
    try:
        with trio.move_on_after(timeout):
            await _send(sock, request)
            head = await _read_head(sock)
            status = _status(head)
            if not 200 <= status < 300:
                raise refusal(status)
            return
    except OSError as error:
        raise proxy_failed(f"the connection to the proxy was lost ({error.strerror})") from error
    raise EgressError("proxy_timeout", _SILENT)


def refusal(status: int) -> EgressError:
    """Return what a proxy's answer means that opens no tunnel."""
    if status in _AUTH_REQUIRED:
        return EgressError(
            "proxy_auth_required",
            "The proxy that hookd sends through wants other credentials; its operator has to mend that.",
            note=f"the proxy answered {status}: correct egress.proxy_credentials_file, and restart",
            fault=Fault.PROXY,
        )
    if status >= 500:
        return EgressError(
            "proxy_connect_failed",
            f"The proxy that hookd sends through could not reach the host ({status}); check that its server"
            " is running, and its firewall.",
            note=f"the proxy answered {status} to CONNECT",
        )
    if status >= 400 and status != _TOO_MANY_REQUESTS:
        return EgressError(
            "proxy_refused",
            f"The proxy that hookd sends through does not let it reach this host ({status}); ask its"
            " operator.",
            note=f"the proxy answered {status} to CONNECT: see its access rules",
        )
    return proxy_failed(f"the proxy answered {status} to CONNECT")


def proxy_failed(note: str) -> EgressError:
    """Return the error for a proxy that does not do what a proxy does; `note` is for the operator."""
    return EgressError(
        "proxy_failed",
        "The proxy that hookd sends through does not work; its operator has to mend that.",
        note=note,
        fault=Fault.PROXY,
    )


def proxy_unreachable(error: EgressError) -> EgressError:
    """Return the error for a proxy that could not be connected to."""
    return EgressError(
        "proxy_unreachable",
        "The proxy that hookd sends through cannot be reached; its operator has to mend that.",
        note=f"the proxy: {error.code}",
        fault=Fault.PROXY,
    )


async def is_alive(sock: socket.socket, proxy: Proxy) -> bool:
    """Return whether the proxy answers a request that it must answer itself; the caller sets the deadline."""
    try:
        host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
        await _send(sock, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return (await _receive(sock, 5)).startswith(b"HTTP/")
    except OSError:
        return False


async def _send(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.socket, size: int) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(size)
        except BlockingIOError:
            continue


async def _read_head(sock: socket.socket) -> bytes:
    """Return the head of the final answer.

    What a 2xx says of a body is to be ignored; the host has nothing to say before we do.
    """
    data = b""
    while True:
        end = _END_OF_HEAD.search(data)
        if end is None:
            if len(data) >= _MAX_HEAD:
                raise proxy_failed(f"the head of the proxy's answer is longer than {_MAX_HEAD} bytes")
            more = await _receive(sock, _MAX_HEAD - len(data))
            if not more:
                raise proxy_failed("the proxy closed the connection without an answer to CONNECT")
            data += more
            continue
        status = _status(data)
        if 100 <= status < 200:
            data = data[end.end() :]
            continue
        if 200 <= status < 300 and len(data) > end.end():
            raise proxy_failed("the proxy sent something of its own into the tunnel")
        return data


def _status(head: bytes) -> int:
    match = _STATUS_LINE.match(head)
    if match is None:
        raise proxy_failed("the proxy's answer is not HTTP; see that egress.proxy names an HTTP proxy's port")
    return int(match[1])
