"""How many events a round of routing looks at. Pure."""

import math

ALONE, BESIDE = 0.03, 0.007
"""Seconds that a full round is to take; and while others publish, too, who wait for its end."""
LATELY = 0.5
"""Seconds for which others are thought to go on."""
LEAST, MOST = 40, 200
FIRST = 100


class RoundSize:
    """Follows what full rounds take; one that took all there was shows that others publish."""

    def __init__(self) -> None:
        self.events = FIRST
        self._others_until = -math.inf

    def others(self, now: float) -> bool:
        """Tell whether others publish, too."""
        return now < self._others_until

    def note(self, events: int, seconds: float, now: float, *, cut: bool) -> None:
        """Learn from a round that ended `now`; `cut`: there was more than it could take."""
        if not cut:
            self._others_until = now + LATELY
            return
        if events < self.events:
            return  # a slice of a wide fan-out, or a few
        fitting = self.events * (BESIDE if self.others(now) else ALONE) / max(seconds, 1e-6)
        self.events = int(max(LEAST, self.events / 2, min(MOST, self.events * 1.25, fitting)))
