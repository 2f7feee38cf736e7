"""How bulk work yields to single events. Pure.

Bulk work is what there is much of: rounds of a burst, slices of a fan-out, claims and results out of a
backlog. Alone it takes all there is. While single events come its pieces are small and go one at a time, each
round rests for as long as a part of it took, and none begins while an event that was just announced is on its
way: so a single event waits for the end of one piece at most.
"""

import math
from collections.abc import Callable

SINGLE_EVENTS_WINDOW = 0.5
"""Seconds after a single event for which others are expected."""
REST_PART = 0.5
"""Seconds of rest for each second that a round took; claims and results, which follow it, go on meanwhile."""
MAX_REST = 0.02
"""Seconds of rest, however long a round took: it may have waited for a lock."""
SLICES_WINDOW, CLAIM_INTERVAL = 0.25, 0.1
"""Seconds after a slice of a fan-out for which more are expected, and between two claims meanwhile: they want
the same hosts, one after the other, and the sooner all is queued the less everybody waits."""
MAX_HEAD_START = 0.012
"""Seconds for which bulk work waits for an event that was announced: one is on its way after 3 to 8 ms."""
ROUND_TIME, ROUND_TIME_ALONE = 0.007, 0.03
"""Seconds that a full round is to take: while single events come, and alone."""
MIN_ROUND_EVENTS, MAX_ROUND_EVENTS = 40, 200
"""Events that a round looks at; a round for single events looks at the fewest."""
MAX_CLAIM, SMALL_CLAIM = 1_000_000, 64
"""Deliveries that one claim takes."""
MAX_REQUESTS, FEW_REQUESTS = 128, 16
"""Requests that are begun in one turn of Trio's loop: a new event needs several turns, one after another."""


class Governor:
    """Says when bulk work may go on and how large its next piece may be; `clock` in seconds.

    `round_events`: how many events the next round may look at, by what those before took.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._single_until = -math.inf
        self._announced_at = self._head_start_until = -math.inf
        self._no_head_start_before = -math.inf
        self._rest_until = -math.inf
        self._slices_until = self._claimed_at = -math.inf
        self.round_events = (MIN_ROUND_EVENTS + MAX_ROUND_EVENTS) // 2

    def note_single(self) -> None:
        """A single event was routed, or a few: there was no more than a round could take."""
        self._single_until = self._clock() + SINGLE_EVENTS_WINDOW

    def announce(self) -> None:
        """Something was published, and is looked for now. Of all the time such waits take half at most."""
        now = self._clock()
        if now >= max(self._head_start_until, self._no_head_start_before):
            self._announced_at, self._head_start_until = now, now + MAX_HEAD_START
            self._no_head_start_before = now + 2 * MAX_HEAD_START

    def end_announcement(self) -> None:
        """It has been looked for: it is on its way, or there was nothing."""
        now = self._clock()
        if now < self._head_start_until:
            self._head_start_until = now
            self._no_head_start_before = 2 * now - self._announced_at

    def note_round(self, events: int, began: float, ended: float) -> None:
        """A round of bulk work looked at so many events and took so long, by the clock."""
        seconds = ended - began
        self._rest_until = ended + min(MAX_REST, seconds * REST_PART)
        if events >= self.round_events:  # else it was a slice of a wide fan-out, or had few
            time = ROUND_TIME if self.single_events_come else ROUND_TIME_ALONE
            fitting = min(self.round_events * 1.25, events * time / max(seconds, 1e-6), MAX_ROUND_EVENTS)
            self.round_events = int(max(MIN_ROUND_EVENTS, self.round_events / 2, fitting))

    def note_slice(self) -> None:
        """A slice of a fan-out was routed, which is not its last."""
        self._slices_until = self._clock() + SLICES_WINDOW

    def note_claim(self) -> None:
        """A claim out of a backlog begins."""
        self._claimed_at = self._clock()

    @property
    def claims_yield(self) -> bool:
        """Whether claims leave hosts and processors to the slices of a fan-out just now."""
        return self._clock() < min(self._slices_until, self._claimed_at + CLAIM_INTERVAL)

    @property
    def single_events_come(self) -> bool:
        """Whether there are single events to yield to, or one was just announced."""
        now = self._clock()
        return now < self._single_until or now < self._head_start_until

    @property
    def event_on_its_way(self) -> bool:
        """Whether an event was announced that has not been looked for."""
        return self._clock() < self._head_start_until

    def head_start(self) -> float:
        """Return for how many seconds at most an event on its way goes before all bulk work."""
        return max(0.0, self._head_start_until - self._clock())

    def rest(self) -> float:
        """Return for how many seconds no round is to begin."""
        return max(0.0, self._rest_until - self._clock()) if self.single_events_come else 0.0

    @property
    def claim_size(self) -> int:
        """How many deliveries the next claim may take."""
        return SMALL_CLAIM if self.single_events_come else MAX_CLAIM

    @property
    def requests_at_once(self) -> int:
        """How many requests may be begun in one turn of the loop."""
        return FEW_REQUESTS if self.single_events_come else MAX_REQUESTS
