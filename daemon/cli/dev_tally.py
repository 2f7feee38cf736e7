"""Who still owes what: events that were published against those that arrived. Pure but for the wake-up."""

from collections import OrderedDict
from dataclasses import dataclass, field

import trio

_REMEMBERED = 10_000


@dataclass(slots=True)
class Counts:
    """What happened in all."""

    published: int = 0
    verified: int = 0
    delivered: int = 0
    failed: int = 0
    recovered: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """An event that has not arrived where it should."""

    event_id: str
    event_type: str
    path: str
    last_error: str


@dataclass(slots=True)
class _Expected:
    event_type: str
    paths: set[str]


@dataclass(slots=True)
class Tally:
    """Counts, and for each event the paths that it has yet to arrive at."""

    counts: Counts = field(default_factory=Counts)
    _expected: dict[str, _Expected] = field(default_factory=dict)
    _errors: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    # An event may arrive before its publisher has been told its id, and more than once.
    _arrived: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _settled: trio.Event = field(default_factory=trio.Event)

    def published(self, event_id: str, event_type: str, paths: set[str]) -> None:
        """Expect an event at each of `paths`."""
        self.counts.published += 1
        left = {path for path in paths if (event_id, path) not in self._arrived}
        if left:
            self._expected[event_id] = _Expected(event_type, left)

    def failures(self, event_id: str, path: str) -> int:
        """Return how often a delivery has failed so far."""
        return self._errors.get((event_id, path), (0, ""))[0]

    def failed(self, event_id: str, path: str, error: str) -> None:
        """Note an attempt that was not answered well."""
        self._errors[(event_id, path)] = (self.failures(event_id, path) + 1, error)
        self.counts.failed += 1

    def arrived(self, event_id: str, path: str) -> bool:
        """Note an attempt that was answered well; return whether it was the first of its delivery."""
        first = (event_id, path) not in self._arrived
        self._arrived[(event_id, path)] = None
        while len(self._arrived) > _REMEMBERED:
            self._arrived.popitem(last=False)
        if self._errors.pop((event_id, path), None):
            self.counts.recovered += 1
        self.counts.delivered += first
        expected = self._expected.get(event_id)
        if expected is not None:
            expected.paths.discard(path)
            if not expected.paths:
                del self._expected[event_id]
        if not self._expected:
            self._settled.set()
        return first

    def missing(self) -> list[Missing]:
        """Return what has been published and not arrived, in the order in which it was published."""
        return [
            Missing(event_id, expected.event_type, path, self._errors.get((event_id, path), (0, ""))[1])
            for event_id, expected in self._expected.items()
            for path in sorted(expected.paths)
        ]

    async def settled(self) -> None:
        """Return as soon as nothing is missing."""
        while self._expected:
            self._settled = trio.Event()
            await self._settled.wait()
