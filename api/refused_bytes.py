"""What organisations owe for large bodies that came to nothing, so that none has the daemon read for ever.

Pure. A body that is refused after it was read has cost everybody the loop's time and gives nobody an event.
Its bytes are counted and forgotten again at `RATE`, and whoever has more than `BURST` of them sends no large
body meanwhile.
"""

from math import ceil
from uuid import UUID

from api.problems import Problem

RATE = 1024**2
"""Bytes a second that are forgotten."""
BURST = 16 * 1024**2
"""Bytes: two bodies of the greatest length, as shipped."""
MAX_OWED = 2 * BURST
"""More is not held against anybody: half a minute's wait says enough."""
_MIN_SWEPT = 1024


class RefusedBytes:
    """By organisation. Times are seconds of one clock that does not go back."""

    def __init__(self) -> None:
        self._forgotten_at: dict[UUID, float] = {}
        self._sweep_at = _MIN_SWEPT

    def __len__(self) -> int:
        """Return of how many organisations something is known."""
        return len(self._forgotten_at)

    def count(self, org_id: UUID, size: int, now: float) -> None:
        """Count the `size` bytes of a body that was read and refused."""
        if len(self._forgotten_at) >= self._sweep_at:
            self._forgotten_at = {org: at for org, at in self._forgotten_at.items() if at > now}
            self._sweep_at = max(_MIN_SWEPT, 2 * len(self._forgotten_at))
        forgotten_at = max(self._forgotten_at.get(org_id, now), now) + size / RATE
        self._forgotten_at[org_id] = min(forgotten_at, now + MAX_OWED / RATE)

    def check(self, org_id: UUID, now: float) -> None:
        """Raise a 429 `Problem` where the organisation may not send a large body now."""
        wait = self._forgotten_at.get(org_id, now) - now - BURST / RATE
        if wait > 0:
            raise Problem(
                429,
                "too-many-bytes",
                "Your organisation's last large bodies were refused: correct what their answers name; "
                "after the seconds in Retry-After the next one is read.",
                headers={"Retry-After": str(ceil(wait))},
            )
