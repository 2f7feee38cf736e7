"""How much may be claimed for the senders now, and who may have how much of it. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from daemon.delivery.governor import Governor
from daemon.store.queue import Shares

MAX_ORG_FACTOR, MAX_ORGS = 3, 32
"""An organisation may have so many times as many senders as are free: three quarters, if it is alone. That is
looked at for so many, those that have most."""


class Pace:
    """How many requests end in `PERIOD` seconds just now."""

    PERIOD = 1 / 16

    def __init__(self) -> None:
        self.ended = 0
        self._since = 0.0
        self._of_period = 0

    def measure(self, now: float) -> int:
        """Return how many ended in the last whole period."""
        passed = now - self._since
        if passed >= self.PERIOD:
            self._of_period = int(self.ended * self.PERIOD / passed)
            self._since, self.ended = now, 0
        return self._of_period


class Capacity:
    """Counts what `senders` have, at most `probes` of it for lanes that have not answered in time of late.

    So that senders need not wait for the next claim, about as many deliveries may wait for them as they
    finish in a sixteenth of a second, at most two for each; while they hang that is none.
    """

    def __init__(self, senders: int, probes: int, governor: Governor, clock: Callable[[], float]) -> None:
        self.senders = senders
        self.pace = Pace()
        self._probes = probes
        self._governor = governor
        self._clock = clock
        self._taken = self._probing = 0
        self._reserved = self._reserved_probes = 0
        self._of_org = Counter[UUID]()
        self._probes_of_org = Counter[UUID]()

    @property
    def free(self) -> int:
        """How many more deliveries could be sent now, or wait for a sender."""
        return self.senders + self._ahead() - self._taken - self._reserved

    @property
    def free_slots(self) -> int:
        """How many deliveries may be claimed now: few while single events come, for quick claims."""
        return max(0, min(3 * self.senders, max(self._governor.claim_size, self._ahead() // 2), self.free))

    @property
    def free_probes(self) -> int:
        """How many of them may go to lanes that have not answered in time of late."""
        return max(0, self._probes - self._probing - self._reserved_probes)

    @property
    def claiming(self) -> bool:
        """Whether a claim is under way."""
        return self._reserved > 0

    def shares(self) -> Shares:
        """Return who may have no more senders, so that some are left for whoever comes."""
        return _shares(self._of_org, self.free)

    def probe_shares(self) -> Shares:
        """Return the same for lanes that have not answered in time of late."""
        return _shares(self._probes_of_org, self.free_probes)

    @contextmanager
    def reserve(self, slots: int, probes: int) -> Iterator[None]:
        """Keep what a claim under way may bring from others."""
        self._reserved += slots
        self._reserved_probes += probes
        try:
            yield
        finally:
            self._reserved -= slots
            self._reserved_probes -= probes

    def take(self, org_id: UUID, probe: bool) -> None:
        """A delivery was claimed; `probe`: of such a lane."""
        self._taken += 1
        self._probing += probe
        self._of_org[org_id] += 1
        self._probes_of_org[org_id] += probe

    def release(self, org_id: UUID, probe: bool) -> None:
        """A delivery that was claimed has been sent, or given back."""
        self._taken -= 1
        self._probing -= probe
        _drop(self._of_org, org_id, 1)
        _drop(self._probes_of_org, org_id, probe)

    def _ahead(self) -> int:
        return min(2 * self.senders, self.pace.measure(self._clock()))


def _shares(had: Counter[UUID], free: int) -> Shares:
    if free < 1:
        return Shares()
    largest = had.most_common(MAX_ORGS)
    full = tuple(org for org, count in largest if count >= MAX_ORG_FACTOR * free)
    return Shares(full, math.ceil(free * MAX_ORG_FACTOR / (MAX_ORG_FACTOR + 1)))


def _drop(had: Counter[UUID], org_id: UUID, count: int) -> None:
    had[org_id] -= count
    if not had[org_id]:
        del had[org_id]
