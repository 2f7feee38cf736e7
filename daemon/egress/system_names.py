"""What this machine knows of names: /etc/hosts and the nameservers of /etc/resolv.conf.

Both are read again when they have changed. Of hosts.conf, nsswitch.conf and the search domains nothing is
used: a name in a URL is a full one, and must not mean another host here than elsewhere.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Generic, TypeVar

import trio

from daemon.egress.addresses import Address
from daemon.egress.name_lookup import NameLookup
from daemon.egress.nameserver import PORT, Nameserver

HOSTS, RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")
RELOAD_INTERVAL = 5.0
"""Seconds after which the files are looked at again."""
_MAX_SERVERS = 3  # as in the C library
_LOOPBACK: tuple[Address, ...] = (IPv6Address("::1"), IPv4Address("127.0.0.1"))

T = TypeVar("T")


class SystemLookup:
    """Finds addresses as this machine does: in its hosts file, else at its nameservers."""

    def __init__(self, *, hosts: Path = HOSTS, resolv_conf: Path = RESOLV_CONF, port: int = PORT) -> None:
        self._hosts = _File(hosts, parse_hosts)
        self._servers = _File(resolv_conf, partial(parse_resolv_conf, port=port))
        self._ask = NameLookup(self._servers.read)

    async def __call__(self, host: str) -> list[Address]:
        """Return the addresses of the absolute name `host`; raises as `NameLookup` does."""
        hosts = await self._hosts.read()
        if host in hosts:
            return hosts[host]
        if host == "localhost" or host.endswith(".localhost"):
            return list(_LOOPBACK)  # RFC 6761 section 6.3
        return await self._ask(host)


class _File(Generic[T]):
    """What a file says, read again where it has changed.

    While it cannot be read, as it is being replaced, what it said before holds; at first, nothing.
    """

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self._path = path
        self._parse = parse
        self._content = parse("")
        self._version: tuple[int, int, int] | None = None
        self._content = self._read()
        self._look_at = -math.inf

    async def read(self) -> T:
        now = trio.current_time()
        if now >= self._look_at:
            self._look_at = now + RELOAD_INTERVAL
            self._content = await trio.to_thread.run_sync(self._read)
        return self._content

    def _read(self) -> T:
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_size, status.st_ino
            if version == self._version:
                return self._content
            content = self._parse(self._path.read_text("utf-8", "replace"))
        except OSError:
            return self._content
        self._version = version
        return content


def parse_hosts(text: str) -> dict[str, list[Address]]:
    """Return the addresses of each name in a hosts file, in its order."""
    found: dict[str, list[Address]] = {}
    for line in text.splitlines():
        text, *names = line.partition("#")[0].split() or [""]
        with suppress(ValueError):
            address = ip_address(text)
            for name in names:
                found.setdefault(name.lower().removesuffix("."), []).append(address)
    return found


def parse_resolv_conf(text: str, *, port: int = PORT) -> Sequence[Nameserver]:
    """Return the nameservers of a resolv.conf, at most three; that of this machine if it names none.

    It gives no ports: all listen on `port`.
    """
    servers = []
    for line in text.splitlines():
        key, *values = line.split() or [""]
        with suppress(ValueError, IndexError):
            if key == "nameserver":
                servers.append(Nameserver(ip_address(values[0]), port))
    return servers[:_MAX_SERVERS] or [Nameserver(IPv4Address("127.0.0.1"), port)]
