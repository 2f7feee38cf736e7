"""Whether a burst is still being published. Pure."""

import math
from collections.abc import Mapping

REST = 0.1
"""Seconds for which the router of crowds rests after a round, while a burst arrives and others publish."""
LOOK_EVERY = 0.1
"""Seconds between two looks at what is newest."""
LATELY = 0.5
"""Seconds for which a burst is thought to go on after something has come."""
LONGEST = 15.0
"""Seconds of a crowd after which there are no more rests: some never cease to publish."""


class Arrival:
    """Follows the newest transaction in each shard with a crowd.

    Whoever publishes a burst keeps a processor busy with it. To route it meanwhile would take the other one
    from those who publish single events, and gain next to nothing: it has to wait for its own end anyway.
    """

    def __init__(self) -> None:
        self._newest: dict[int, str] = {}
        self._since = math.inf
        self._until = self._next_look = -math.inf

    def look_due(self, now: float) -> bool:
        """Tell whether it is time to look again."""
        return now >= self._next_look

    def note(self, newest: Mapping[int, str], now: float) -> None:
        """Learn what is newest in shards with a crowd; of one where that is another's, nothing is learnt."""
        if self._since == math.inf:
            self._since = now
        elif any(self._newest.get(shard) != xid for shard, xid in newest.items()):
            self._until = now + LATELY
        self._newest |= newest
        self._next_look = now + LOOK_EVERY

    def end(self) -> None:
        """No shard has a crowd any more."""
        self._newest.clear()
        self._since = math.inf
        self._until = self._next_look = -math.inf

    def rest(self, now: float) -> float:
        """Return for how many seconds to rest now."""
        return REST if now < min(self._until, self._since + LONGEST) else 0.0
