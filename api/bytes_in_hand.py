"""How much of requests and answers is in memory at a time: bounded in all, and for each organisation."""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from uuid import UUID

from api.problems import Problem, unavailable
from api.refused_bytes import RefusedBytes

NOBODY = UUID(int=0)
"""Stands for the organisation of whoever has not said who it is."""
_RETRY_AFTER = 2  # seconds


class BytesInHand:
    """Counts the bytes that requests hold, from before they are read until they have been answered.

    `limit` is for all, `share` for one organisation. Where something does not fit nobody waits, for those
    who wait would hold what they have: the request is refused and may come again.
    """

    def __init__(
        self,
        limit: int = 64 * 1024**2,
        share: int = 16 * 1024**2,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.refused = RefusedBytes()
        self.clock = clock
        self._limit = limit
        self._share = share
        self._all = 0
        self._of: dict[UUID, int] = {}

    def __len__(self) -> int:
        """Return how many bytes are in hand."""
        return self._all

    def hold(self, org_id: UUID, *, shared: bool = True) -> "Holding":
        """Return what a request of the organisation holds, nothing as yet.

        Unless `shared`, the organisation's share does not bind it, but what is held is counted.
        """
        return Holding(self, org_id, shared)

    def add(self, org_id: UUID, size: int, *, shared: bool) -> None:
        """Count `size` bytes more; raises a 429 or 503 `Problem` where they do not fit."""
        mine = self._of.get(org_id, 0) + size
        if shared and mine > self._share:
            raise Problem(
                429,
                "too-many-bytes",
                f"Your organisation's requests and answers under way would come to more than {self._share} "
                "bytes; wait for those to end, and send fewer or smaller ones at a time.",
                headers={"Retry-After": str(_RETRY_AFTER)},
            )
        if self._all + size > self._limit:
            raise unavailable(
                "The requests under way leave no memory for one of this size; send it again after the "
                "seconds in Retry-After.",
                _RETRY_AFTER,
            )
        self._of[org_id] = mine
        self._all += size

    def give_back(self, org_id: UUID, size: int) -> None:
        """Count `size` bytes less."""
        self._all -= size
        left = self._of[org_id] - size
        if left:
            self._of[org_id] = left
        else:
            del self._of[org_id]


class Holding:
    """What one request holds; given back at the end of a `with` block."""

    __slots__ = ("_bytes", "_org_id", "_shared", "size")

    def __init__(self, in_hand: BytesInHand, org_id: UUID, shared: bool) -> None:
        self._bytes = in_hand
        self._org_id = org_id
        self._shared = shared
        self.size = 0

    def check_refused(self) -> None:
        """Raise a 429 `Problem` where so much of the organisation was refused that nothing large is read."""
        if self._shared:
            self._bytes.refused.check(self._org_id, self._bytes.clock())

    def count_refused(self, size: int) -> None:
        """Count `size` bytes that were read and refused."""
        if self._shared:
            self._bytes.refused.count(self._org_id, size, self._bytes.clock())

    def grow_to(self, size: int, *, beyond_share: bool = False) -> None:
        """Hold at least `size` bytes; raises a 429 or 503 `Problem` where they do not fit.

        `beyond_share`: only the limit for all counts, for what has been let in and turns out to be larger.
        """
        if size > self.size:
            self._bytes.add(self._org_id, size - self.size, shared=self._shared and not beyond_share)
            self.size = size

    def shrink_to(self, size: int) -> None:
        """Hold at most `size` bytes."""
        if size < self.size:
            self._bytes.give_back(self._org_id, self.size - size)
            self.size = size

    def __enter__(self) -> "Holding":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shrink_to(0)
