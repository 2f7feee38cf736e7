"""Whether a burst is still being published. Pure."""

import math
from collections.abc import Iterable

REST = 0.05
"""Seconds for which the router of crowds rests after a round, while a burst arrives and others publish."""
LOOK_EVERY = 0.1
"""Seconds between two looks at what is newest."""
MANY = 200
"""Events that have come to a shard between two looks, if a burst is being published."""
LATELY = 0.5
"""Seconds for which it is thought to go on after that."""
LONGEST, AGAIN = 10.0, 60.0
"""Seconds after the first rest from which on there are no more, and from which on there may be, anew: some
never cease to publish."""


class Arrival:
    """Follows the newest transaction in each shard with a crowd.

    Whoever publishes a burst keeps a processor busy with it. To route it meanwhile would take the other one
    from those who publish single events, for the sake of what takes far longer to be delivered anyway.
    """

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._since = self._until = self._next_look = -math.inf

    def look_due(self, now: float) -> bool:
        """Tell whether it is time to look again."""
        return now >= self._next_look

    def note(self, seen: Iterable[tuple[int, int, int]], now: float) -> None:
        """Learn what is newest in each shard with a crowd, and what was `MANY` events before that."""
        newest = {}
        for shard, latest, before in seen:
            newest[shard] = latest
            if before > self._newest.get(shard, math.inf):
                self._until = now + LATELY
                if now > self._since + AGAIN:
                    self._since = now
        self._newest = newest
        self._next_look = now + LOOK_EVERY

    def rest(self, now: float) -> float:
        """Return for how many seconds to rest now."""
        return REST if now < min(self._until, self._since + LONGEST) else 0.0
