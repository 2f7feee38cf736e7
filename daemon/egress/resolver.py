"""Turning host names into addresses: bounded threads, one lookup a name at a time, a short memory."""

import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError

Lookup = Callable[[str], list[Address]]


class Resolver(Protocol):
    """Finds the addresses of a host."""

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return at least one address, or raise EgressError (dns_failed, dns_timeout)."""


@dataclass(slots=True)
class _Result:
    """What a lookup found: addresses, or the code and detail of its failure."""

    addresses: list[Address] = field(default_factory=list)
    code: str = ""
    detail: str = ""
    expires: float = 0.0


@dataclass(slots=True, eq=False)
class _Running:
    """A lookup that is queued or in its thread; it goes on when those who wait for it are cancelled."""

    host: str
    waiters: int = 0
    done: trio.Event = field(default_factory=trio.Event)
    result: _Result = field(default_factory=_Result)


class ThreadedResolver:
    """Runs a blocking lookup in at most `threads` threads of its own.

    A name is looked up once however many ask for it, so one slow name can hold only one thread. Answers are
    remembered for `lifetime` seconds and failures for `failure_lifetime`; nothing is served after that.
    The blocking lookups of the C library cannot be interrupted: a cancelled caller leaves at once and the
    thread ends in its own time. Belongs to one `trio.run`.
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        threads: int = 16,
        lifetime: float = 30.0,
        failure_lifetime: float = 3.0,
        max_names: int = 4096,
    ) -> None:
        self._lookup = lookup
        self._free = threads
        self._lifetime = lifetime
        self._failure_lifetime = failure_lifetime
        self._max_names = max_names
        self._known: OrderedDict[str, _Result] = OrderedDict()
        self._running: dict[str, _Running] = {}
        self._queue: deque[_Running] = deque()

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Return the addresses of `host` (an IP literal is its own); raise EgressError without one."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        result = self._known.get(host)
        if result is None or result.expires <= trio.current_time():
            result = await self._wait_for(host)
        if result.code:
            raise EgressError(result.code, result.detail)
        return list(result.addresses)

    async def _wait_for(self, host: str) -> _Result:
        running = self._running.get(host)
        if running is None:
            running = self._running[host] = _Running(host)
            self._queue.append(running)
        running.waiters += 1
        try:
            self._start_threads()
            await running.done.wait()
        finally:
            running.waiters -= 1
        return running.result

    def _start_threads(self) -> None:
        while self._free and self._queue:
            running = self._queue.popleft()
            if not running.waiters:  # all have left while it was queued
                del self._running[running.host]
                continue
            self._free -= 1
            token = trio.lowlevel.current_trio_token()

            def work(running: _Running = running, token: trio.lowlevel.TrioToken = token) -> None:
                result = self._look_up(running.host)
                with suppress(trio.RunFinishedError):  # the program has ended: nobody waits
                    token.run_sync_soon(self._finish, running, result)

            try:
                trio.lowlevel.start_thread_soon(work, lambda _outcome: None)
            except RuntimeError:
                self._finish(running, _failure("This daemon cannot start a thread; raise its task limit."))

    def _look_up(self, host: str) -> _Result:
        try:
            addresses = self._lookup(host)
        except EgressError as error:
            return _Result(code=error.code, detail=error.detail)
        except Exception as error:  # noqa: BLE001 (whatever it is, those who wait must hear of it)
            return _failure(f"The host's name could not be resolved ({type(error).__name__}).")
        if not addresses:
            return _failure("The host's name has no address; check its DNS records.")
        return _Result(addresses)

    def _finish(self, running: _Running, result: _Result) -> None:
        self._free += 1
        del self._running[running.host]
        kept = self._failure_lifetime if result.code else self._lifetime
        result.expires = trio.current_time() + kept
        self._known[running.host] = result
        self._known.move_to_end(running.host)
        if len(self._known) > self._max_names:
            self._known.popitem(last=False)
        running.result = result
        running.done.set()
        self._start_threads()


def _failure(detail: str) -> _Result:
    return _Result(code="dns_failed", detail=detail)


def system_lookup(host: str) -> list[Address]:
    """Return the addresses that the system's resolver gives, in its order (RFC 6724); blocks.

    Raises EgressError (dns_failed). An address with a scope keeps it, so that it can be refused.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise EgressError(
            "dns_failed", f"The host's name could not be resolved ({reason}); check its DNS records."
        ) from None
    addresses = []
    for _family, _type, _protocol, _name, sockaddr in found:
        scope = f"%{sockaddr[3]}" if len(sockaddr) == 4 and sockaddr[3] else ""
        addresses.append(ip_address(f"{str(sockaddr[0]).partition('%')[0]}{scope}"))
    return addresses
