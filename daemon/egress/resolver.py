"""From host names to addresses: one look-up a name, a share for each organisation, a short memory."""

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol
from uuid import UUID

import trio

from daemon.egress.addresses import Address
from daemon.egress.errors import EgressError, Fault

logger = logging.getLogger("hookd.egress")

Lookup = Callable[[str], Awaitable[list[Address]]]

MAX_LOOKUPS = 256
"""Look-ups under way at once; each has one or two sockets."""
MAX_LOOKUPS_EACH = 32
"""Of one organisation: names that nobody answers hold no more than that, for some seconds each."""
PATIENCE = 2.0
"""Seconds that a name waits for those before it."""


class Resolver(Protocol):
    """Finds the addresses of a host."""

    async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
        """Return the addresses of `host`, none if it has none; `owner`: the organisation that sends there.

        Raises EgressError (dns_failed, dns_timeout).
        """


@dataclass(slots=True)
class _Result:
    """What a look-up found: addresses, or the code and detail of its failure."""

    addresses: list[Address] = field(default_factory=list)
    code: str = ""
    detail: str = ""
    expires: float = 0.0


@dataclass(slots=True)
class _Running:
    """A look-up under way; it goes on when those who wait for it are cancelled."""

    done: trio.Event = field(default_factory=trio.Event)
    result: _Result = field(default_factory=lambda: _Result(code="dns_failed", detail="It was given up."))


class CachingResolver:
    """Remembers what `lookup` finds, and bounds how many look-ups are under way, `most_each` for one owner.

    Where all are taken, those with the fewest under way come first. A name is looked up once however many ask
    for it, and for as long as that takes: whoever has little time cannot end it for others. Answers are
    remembered for `lifetime` seconds and failures for `failure_lifetime`; nothing is served after that.
    Belongs to one `trio.run`.
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        most: int = MAX_LOOKUPS,
        most_each: int = MAX_LOOKUPS_EACH,
        patience: float = PATIENCE,
        lifetime: float = 30.0,
        failure_lifetime: float = 3.0,
        max_names: int = 4096,
    ) -> None:
        self._lookup = lookup
        self._shares = Shares(most, most_each)
        self._patience = patience
        self._lifetime = lifetime
        self._failure_lifetime = failure_lifetime
        self._max_names = max_names
        self._known: OrderedDict[str, _Result] = OrderedDict()
        self._running: dict[str, _Running] = {}

    async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
        """Return the addresses of `host` (an IP literal is its own); see `Resolver`."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        result = self._fresh(host)
        if result is None:
            running = self._running.get(host) or await self._start(host, owner)
            await running.done.wait()
            result = running.result
        if result.code:
            raise EgressError(result.code, result.detail)
        return list(result.addresses)

    def _fresh(self, host: str) -> _Result | None:
        result = self._known.get(host)
        return None if result is None or result.expires <= trio.current_time() else result

    async def _start(self, host: str, owner: UUID | None) -> _Running:
        """Begin a look-up when the owner's turn comes, unless another's has been quicker."""
        with trio.move_on_after(self._patience) as scope:
            await self._shares.take(owner)
        if scope.cancelled_caught:
            raise EgressError(
                "dns_timeout",
                "Too many names that no nameserver answers are being looked up; it will be asked again.",
                fault=Fault.REQUEST,
            )
        running = self._running.get(host)
        if running is None and (result := self._fresh(host)) is not None:
            running = _Running(result=result)
            running.done.set()
        if running is not None:
            self._shares.give_back(owner)
            return running
        running = self._running[host] = _Running()
        trio.lowlevel.spawn_system_task(self._run, host, owner, running)
        return running

    async def _run(self, host: str, owner: UUID | None, running: _Running) -> None:
        try:
            running.result = await self._look_up(host)
        finally:
            self._shares.give_back(owner)
            del self._running[host]
            running.done.set()
        kept = self._failure_lifetime if running.result.code else self._lifetime
        running.result.expires = trio.current_time() + kept
        self._known[host] = running.result
        self._known.move_to_end(host)
        if len(self._known) > self._max_names:
            self._known.popitem(last=False)

    async def _look_up(self, host: str) -> _Result:
        try:
            return _Result(await self._lookup(host))
        except EgressError as error:
            return _Result(code=error.code, detail=error.detail)
        except Exception:
            logger.exception("a look-up failed unexpectedly; report this")
            return _Result(code="dns_failed", detail="The host's name could not be resolved.")


class Shares:
    """`most` things at once, `most_each` of one owner; freed ones go to the owner with the fewest."""

    def __init__(self, most: int, most_each: int) -> None:
        self._free = most
        self._most_each = most_each
        self._taken: Counter[UUID | None] = Counter()
        self._waiting: dict[UUID | None, deque[trio.Event]] = {}

    async def take(self, owner: UUID | None) -> None:
        """Wait for one."""
        if self._free and self._taken[owner] < self._most_each:
            self._free -= 1
            self._taken[owner] += 1
            return
        mine = trio.Event()
        queue = self._waiting.setdefault(owner, deque())
        queue.append(mine)
        try:
            await mine.wait()
        except trio.Cancelled:
            if mine.is_set():
                self.give_back(owner)
            else:
                queue.remove(mine)
                if not queue:
                    del self._waiting[owner]
            raise

    def give_back(self, owner: UUID | None) -> None:
        """Let somebody else have it."""
        self._free += 1
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]
        waiting = [one for one in self._waiting if self._taken[one] < self._most_each]
        if waiting:
            first = min(waiting, key=self._taken.__getitem__)
            queue = self._waiting[first]
            self._free -= 1
            self._taken[first] += 1
            queue.popleft().set()
            if not queue:
                del self._waiting[first]
