"""Leases: for how long one holds, and how much of each that this daemon holds is still to be recorded."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from daemon.store.results import Result

RECORDING_TIME = 15.0
"""Seconds that recording may take beyond the request, before a lease ends."""


def lease_of(timeout: float) -> float:
    """Return the seconds for which a claimed delivery is ours; `timeout`: that of its request."""
    return timeout + RECORDING_TIME


class Leases:
    """How many deliveries of each lease are still to be recorded, so that the last one drops the lease."""

    def __init__(self) -> None:
        self._left: Counter[UUID] = Counter()
        self._single: set[UUID] = set()

    def add(self, token: UUID, deliveries: int, *, single: bool = False) -> None:
        """Expect that many results of a new lease; `single`: of what was claimed as soon as it was routed."""
        self._left[token] += deliveries
        if single:
            self._single.add(token)

    def keep(self, token: UUID) -> None:
        """Never report the lease as done: it still holds a delivery, which only its end gives back."""
        self._left[token] += 1

    def settle(self, results: Sequence[Result]) -> list[UUID]:
        """Count the results; return the leases of which nothing is left."""
        done = []
        for token, count in Counter(result.token for result in results).items():
            self._left[token] -= count
            if self._left[token] <= 0:
                del self._left[token]
                self._single.discard(token)
                done.append(token)
        return done

    def apart(self, results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
        """Return the single results, and the rest.

        Together they would hold the locks of the single ones' hosts for as long as they wait for those at
        which a burst or a wide fan-out is being routed, and what comes for the single ones would wait, too.
        """
        single = [one for one in results if one.token in self._single]
        return single, [one for one in results if one.token not in self._single] if single else list(results)
