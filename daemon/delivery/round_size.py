"""How many events a round of routing looks at. Pure."""

TARGET = 0.010
"""Seconds that a round is to take: whoever publishes meanwhile waits for its end."""
LEAST, MOST = 40, 200
FIRST = 100


class RoundSize:
    """Follows what full rounds take, at most halving or by a quarter more at a time."""

    def __init__(self) -> None:
        self.events = FIRST

    def note(self, events: int, seconds: float) -> bool:
        """Learn from a round; tell whether it was full."""
        if events < self.events:
            return False
        fitting = self.events * TARGET / max(seconds, TARGET / 100)
        self.events = int(max(LEAST, self.events / 2, min(MOST, self.events * 1.25, fitting)))
        return True
