"""Where the API listens: a TCP address, a Unix socket or the sockets that systemd passes."""

import errno
import os
import socket
import stat
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import trio

from daemon.config.bind import UnixBind, parse_bind

_BACKLOG = 1024
_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_UNIX = "unix:"


class CannotListen(Exception):
    """An address that cannot be listened on; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets, and the Unix socket path among them that goes when they close."""

    sockets: list[trio.SocketListener]
    path: Path | None = None
    identity: tuple[int, int] | None = None

    def addresses(self) -> list[str]:
        """Return where the sockets really listen, in the form of `bind`."""
        return [_address(listener.socket.getsockname()) for listener in self.sockets]

    def close(self) -> None:
        """Stop listening. May be called more than once."""
        # Another daemon may have taken the path over; its socket is not ours to remove.
        if self.path is not None and _identity(self.path) == self.identity:
            self.path.unlink(missing_ok=True)
        for listener in self.sockets:
            listener.socket.close()


async def open_listeners(bind: str, key: str = "api.bind") -> Listeners:
    """Listen on `bind`, the setting `key`, in one of the forms that `api.bind` takes.

    `[::]` stands for every address, IPv4 too. Port 0 takes a free one; `addresses` tells which. A Unix socket
    gets mode 0660, and one that a dead process left behind is replaced. Raises `CannotListen`.
    """
    try:
        address = parse_bind(bind)
    except ValueError as error:
        raise CannotListen(f'cannot listen on "{bind}": {key} {error}') from error
    if isinstance(address, UnixBind):
        return _listen_unix(Path(address.path), key)
    host = None if address.host == "::" else address.host
    try:
        return Listeners(await trio.open_tcp_listeners(address.port, host=host, backlog=_BACKLOG))
    except OSError as error:
        raise CannotListen(f"cannot listen on {bind}: {_tcp_remedy(error, address.port, key)}") from error


def inherited_listeners(
    environ: MutableMapping[str, str] = os.environ, *, first: int = _FIRST_INHERITED
) -> Listeners | None:
    """Return the listening sockets that systemd passed, from file descriptor `first` on; None without any.

    The variables are taken out of `environ`, so that no child process believes them to be its own
    (sd_listen_fds(3)). Raises `CannotListen` when one is not a listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal() or count == "0":
        return None
    return Listeners([_inherited(first + index) for index in range(int(count))])


def adopted_listeners(numbers: Iterable[int]) -> Listeners:
    """Return the listening sockets that a process of our own passed as these file descriptors."""
    return Listeners([_inherited(number) for number in numbers])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _listen_unix(path: Path, key: str) -> Listeners:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path, key)
        sock.bind(str(path))
        path.chmod(0o660)  # before listen(), so nobody can connect under another mode
        sock.listen(_BACKLOG)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        return Listeners([listener], path, _identity(path))
    except OSError as error:
        sock.close()
        raise CannotListen(
            f"cannot listen on {_UNIX}{path}: {error.strerror or error}; make sure that its directory exists "
            f"and this user may write to it, or set another path in {key}"
        ) from error
    except CannotListen:
        sock.close()
        raise


def _clear_stale(path: Path, key: str) -> None:
    """Remove a socket that nobody listens on any more; refuse whatever else is at `path`."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(
            f"cannot listen on {_UNIX}{path}: a file is there; move it or set another path in {key}"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # somebody listens, with a full queue
    raise CannotListen(
        f"cannot listen on {_UNIX}{path}: another process listens there; stop it or set another path in {key}"
    )


def _inherited(number: int) -> trio.SocketListener:
    try:
        sock = socket.socket(fileno=number)
        sock.set_inheritable(False)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except (OSError, ValueError) as error:
        raise CannotListen(
            f"file descriptor {number} from systemd is not a listening stream socket ({error}); "
            "use ListenStream= with Accept=no in the socket unit"
        ) from error


def _address(name: object) -> str:
    if isinstance(name, tuple):
        host, port = name[0], name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{_UNIX}{name.decode() if isinstance(name, bytes) else name}"


def _tcp_remedy(error: OSError, port: int, key: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"this host name is unknown here; set {key} to an address of this machine"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"another process has the port; stop it (ss -ltnp 'sport = :{port}' names it) "
                f"or set another port in {key}"
            )
        case errno.EACCES:
            return "this user may not use the port; take one above 1023 or let systemd pass the socket"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no such address; set {key} to one it has (ip addr lists them)"
    return f"{error.strerror or error}; set another address in {key}"
