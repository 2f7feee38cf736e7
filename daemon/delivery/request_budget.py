"""How many requests each organisation may have sent outside the queue: a bucket each. Pure."""

from collections.abc import Callable
from uuid import UUID

_MIN_SWEPT = 1024


class RequestBudget:
    """`rate` requests a second, and `burst` at once after a quiet time, by the clock `now` (seconds).

    A bucket is kept as the moment at which it is full again, so that whoever is quiet costs no memory.
    """

    def __init__(self, *, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._full_at: dict[UUID, float] = {}
        self._sweep_at = _MIN_SWEPT

    def take(self, org_id: UUID, count: int) -> float:
        """Take `count` requests, at most a `burst`, and return 0; or the seconds until there are so many."""
        now = self._now()
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {one: full_at for one, full_at in self._full_at.items() if full_at > now}
            self._sweep_at = max(_MIN_SWEPT, 2 * len(self._full_at))
        full_at = max(self._full_at.get(org_id, now), now) + count / self._rate
        wait = full_at - now - self._burst / self._rate
        if wait > 0:
            return wait
        self._full_at[org_id] = full_at
        return 0.0
