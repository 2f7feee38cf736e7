"""Addresses to listen on: "host:port", "[v6]:port" or "unix:/path"."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

_UNIX_PATH_LENGTH = 107  # unix(7): sun_path has 108 bytes, one of them the final NUL
_FORM = 'write "127.0.0.1:8080", "[::1]:8080" or "unix:/run/hookd/api.sock"'


@dataclass(frozen=True, slots=True)
class TcpBind:
    """A TCP address; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form that `parse_bind` reads."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixBind:
    """A Unix socket at an absolute path."""

    path: str

    def __str__(self) -> str:
        """Return the form that `parse_bind` reads."""
        return f"unix:{self.path}"


def parse_bind(text: str) -> TcpBind | UnixBind:
    """Return the address that `text` names; raises ValueError that says what to write instead."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError('needs the absolute path of a socket: write "unix:/run/hookd/api.sock"')
        if len(path.encode()) > _UNIX_PATH_LENGTH:
            raise ValueError(f"is too long for a socket: use at most {_UNIX_PATH_LENGTH} bytes")
        return UnixBind(path)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"has no port from 0 to 65535 at its end: {_FORM}")
    if host.startswith("[") and host.endswith("]"):
        return TcpBind(_ipv6(host[1:-1]), int(port))
    if ":" in host:
        raise ValueError(f"is an IPv6 address without brackets: {_FORM}")
    if not host or host == "*":
        raise ValueError('has no address: to listen everywhere write "0.0.0.0:PORT" or "[::]:PORT"')
    if any(character.isspace() or character in "/[]@?#" for character in host):
        raise ValueError(f"is not an address: {_FORM}")
    return TcpBind(host, int(port))


def numbered_bind(text: str, number: int) -> str:
    """Return what process `number`, from 1, of several takes in place of `text`.

    The first takes `text` itself, the second the next port, or the path with ".2" after it. Port 0 stays 0.
    Where ports run out, the result is no address any more.
    """
    address = parse_bind(text)
    if isinstance(address, UnixBind):
        return text if number == 1 else f"{text}.{number}"
    return str(TcpBind(address.host, address.port and address.port + number - 1))


def _ipv6(text: str) -> str:
    try:
        IPv6Address(text)
    except AddressValueError:
        raise ValueError(f"has no IPv6 address between the brackets: {_FORM}") from None
    return text
