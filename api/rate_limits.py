"""How many requests each organisation may make of this daemon: a token bucket each, told in header fields.

Pure. A bucket is kept as the moment at which it is full again (the generic cell rate algorithm), so that
whoever has been quiet costs no memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from uuid import UUID

from api.problems import Problem

_ROUNDING = 1e-6  # requests
_MIN_SWEPT = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second, and `burst` at once after a quiet time. A `rate` of 0: no limit."""

    rate: float = 0.0
    burst: float = 1.0


NO_LIMIT = Rate()


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """How an organisation stands after a request: whether it may go on, what is left and when there is more.

    `reset` in seconds: until the bucket is full, or where nothing is left until the next request may come.
    """

    allowed: bool
    limit: Rate
    remaining: int
    reset: float

    def fields(self) -> Mapping[str, str]:
        """Return the header fields (draft-ietf-httpapi-ratelimit-headers-09 sections 3 and 4).

        Whoever keeps to `q` requests in any `w` seconds is never refused.
        """
        window = max(1, ceil(self.limit.burst / self.limit.rate))
        return {
            "RateLimit-Policy": f'"default";q={floor(self.limit.burst)};w={window}',
            "RateLimit": f'"default";r={self.remaining};t={ceil(self.reset)}',
        }

    def refusal(self) -> Problem:
        """Return the 429 (RFC 6585 section 4) for a request that was one too many."""
        seconds = max(1, ceil(self.reset))
        return Problem(
            429,
            "too-many-requests",
            f"Your organisation may make {self.limit.rate:g} requests a second; wait for the seconds in "
            "Retry-After and spread the requests, or publish several events in one.",
            headers={"Retry-After": str(seconds)},
        )


class RateLimits:
    """The buckets of all organisations. Times are seconds of one clock that does not go back."""

    def __init__(self) -> None:
        self._full_at: dict[UUID, float] = {}
        self._sweep_at = _MIN_SWEPT

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return len(self._full_at)

    def take(self, org_id: UUID, limit: Rate, now: float) -> RateLimitState | None:
        """Count one request, unless it is one too many; None where there is no limit."""
        if not limit.rate:
            return None
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)
        whole = limit.burst / limit.rate
        # The bounds matter after a reload: what was spent under other limits is no reason to wait for longer.
        full_at = min(max(self._full_at.get(org_id, now), now), now + whole)
        left = (now + whole - full_at) * limit.rate
        if left < 1 - _ROUNDING:
            return RateLimitState(False, limit, 0, (1 - left) / limit.rate)
        full_at += 1 / limit.rate
        self._full_at[org_id] = full_at
        left -= 1
        remaining = max(0, floor(left + _ROUNDING))
        return RateLimitState(True, limit, remaining, full_at - now if remaining else (1 - left) / limit.rate)

    def _sweep(self, now: float) -> None:
        """Forget the full buckets; at twice as many as are left then, again."""
        self._full_at = {org_id: full_at for org_id, full_at in self._full_at.items() if full_at > now}
        self._sweep_at = max(_MIN_SWEPT, 2 * len(self._full_at))
