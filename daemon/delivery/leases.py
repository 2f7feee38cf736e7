"""Leases that this daemon holds, by how much of each is still to be recorded."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from daemon.store.results import Result


class Leases:
    """How many deliveries of each lease are still to be recorded, so that the last one drops the lease."""

    def __init__(self) -> None:
        self._left: Counter[UUID] = Counter()
        self._lone: set[UUID] = set()

    def add(self, token: UUID, deliveries: int, *, lone: bool = False) -> None:
        """Expect that many results of a new lease; `lone`: of what was claimed as soon as it was routed."""
        self._left[token] += deliveries
        if lone:
            self._lone.add(token)

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
                self._lone.discard(token)
                done.append(token)
        return done

    def apart(self, results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
        """Return the lone results, and the rest.

        Together they would hold the locks of the lone ones' hosts for as long as they wait for those at which
        a burst or a wide fan-out is being routed, and what comes for the lone ones would wait, too.
        """
        lone = [one for one in results if one.token in self._lone]
        return lone, [one for one in results if one.token not in self._lone] if lone else list(results)
