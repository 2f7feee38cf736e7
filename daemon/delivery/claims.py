"""Claims: what is leased is handed to the senders at once, and what may be leased is remembered."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import trio

from daemon.delivery.attendance import Attendance
from daemon.delivery.bulk_lock import BulkLock
from daemon.delivery.leases import Leases
from daemon.delivery.senders import Senders
from daemon.delivery.targets import Targets
from daemon.metrics import Metrics
from daemon.store.database import Connection, Database
from daemon.store.queue import Claim, ClaimRequest, claim, fetch_targets, read_claim
from daemon.store.routing import Round

MAX_WITH_ROUND, MAX_PROBES_WITH_ROUND = 40, 8
"""What a round of routing may claim, and how much of that from unproven lanes. It is kept from the claimer
meanwhile: so it is at most half of what is free, and of the latter where one round follows the other."""
HELD_BACK = 0.1
"""Seconds until the next look where all that is due may be of organisations that have their share."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is kept for a claim under way. `beside`: another was under way when it began."""

    request: ClaimRequest
    beside: bool

    @property
    def overlooks_probes(self) -> bool:
        """Whether others had all slots for probes: they may have looked before there was anything to find."""
        return self.beside and not self.request.probe_slots


@dataclass
class Claims:
    """The claims of one daemon: the claimer's, and the routers' for what they routed just now.

    `lease` gives the seconds for which a claimed delivery is ours: longer than a request and its recording
    take; `attendance` tells which of the daemons this one is. `wake` wakes the claimer; `next_look` is when
    it wakes by itself. `in_doubt`: tokens of claims that may have been committed though no answer came, or
    not all of it: the claimer gives back what they leased.
    """

    database: Database
    lock: BulkLock
    senders: Senders
    targets: Targets
    leases: Leases
    lease: Callable[[], float]
    attendance: Attendance
    wake: Callable[[], None]
    metrics: Metrics
    next_look: float = math.inf
    in_doubt: list[UUID] = field(default_factory=list)

    async def claim(self, connection: Connection) -> Claim:
        """Lease what is due, in a unit of work, and hand it to the senders in the same turn of the loop."""
        async with self.lock.piece():
            began = trio.current_time()
            capacity = self.senders.capacity
            if not capacity.free_slots:
                return Claim([], 0.0)  # another claim was quicker
            with self._reserve(capacity.free_slots, capacity.free_probes) as reserved:
                claimed = await claim(self.database, connection, reserved.request)
                await self._take(connection, claimed, reserved, single=False)
            self.metrics.claim_seconds.observe(trio.current_time() - began)
        if reserved.overlooks_probes:
            return replace(claimed, next_due=0.0)
        if reserved.request.shares.full and not claimed.deliveries and claimed.next_due is not None:
            return replace(claimed, next_due=max(claimed.next_due, HELD_BACK))
        return claimed

    @contextmanager
    def with_round(self, bulk: bool) -> Iterator[Reservation]:
        """Keep a few slots for a round of routing, which claims what it routed, for as long as it takes."""
        capacity = self.senders.capacity
        slots = min(MAX_WITH_ROUND, capacity.free_slots // 2)
        probes = capacity.free_probes // 2 if bulk else capacity.free_probes
        with self._reserve(slots, min(MAX_PROBES_WITH_ROUND, probes)) as reserved:
            yield reserved

    async def take_routed(self, connection: Connection, done: Round, reserved: Reservation) -> None:
        """Take what was claimed with a round of routing; wake the claimer if something is left.

        So an event does not wait for its host's turn among those with a backlog. What is a part of much
        (`cut`) does: it is left to the claimer, and the router goes on.
        """
        if done.in_doubt:
            self._doubt(reserved.request)
        if done.claimed is None:
            if done.hosts or done.in_doubt:
                self.wake()
            return
        claimed = read_claim(reserved.request, done.claimed)
        await self._take(connection, claimed, reserved, single=True)
        due = claimed.next_due
        if reserved.overlooks_probes or (due is not None and trio.current_time() + due < self.next_look):
            self.wake()

    @contextmanager
    def _reserve(self, slots: int, probes: int) -> Iterator[Reservation]:
        capacity = self.senders.capacity
        request = ClaimRequest(
            (uuid4(), uuid4()),
            slots,
            min(slots, probes),
            self.lease(),
            self.attendance.place,
            capacity.shares(),
            capacity.probe_shares(),
        )
        reserved = Reservation(request, beside=capacity.claiming)
        try:
            with capacity.reserve(request.slots, request.probe_slots):
                yield reserved
        except BaseException:
            # Even where Postgres has refused the last statement: the one before may have been committed.
            self._doubt(request)
            raise
        finally:
            self.senders.freed.set()

    def _doubt(self, request: ClaimRequest) -> None:
        if request.slots and request.tokens[0] not in self.in_doubt:
            self.in_doubt.extend(request.tokens)

    async def _take(
        self, connection: Connection, claimed: Claim, reserved: Reservation, *, single: bool
    ) -> None:
        known = self.targets.known
        unknown = {
            one.subscription_id for one in claimed.deliveries if not known(one.subscription_id, one.revision)
        }
        if unknown:
            self.targets.learn(await fetch_targets(self.database, connection, unknown))
        for token, count in Counter(one.token for one in claimed.deliveries).items():
            self.leases.add(token, count, single=single)
        probes = ((one, one.token == reserved.request.tokens[1]) for one in claimed.deliveries)
        self.senders.start(probes, fresh=single)
