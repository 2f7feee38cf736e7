"""Whether each part of an event's way gets through: since when one does not, and why. Pure."""

from collections.abc import Callable, Sequence

PATIENCE = 5.0
"""Seconds after which a part that has not got through stands still; the usual takes milliseconds."""


class Progress:
    """One part of the way. A round begins, is done or fails; one that failed goes on until one is done.

    `proven`: a round has been done. `error`: what the last one failed with. `backends` gives the process ids
    of the server that work for it, as far as they are known.
    """

    def __init__(self, name: str, clock: Callable[[], float], *, proven: bool = False) -> None:
        self.name = name
        self.proven = proven
        self.error = ""
        self.backends: Callable[[], Sequence[int]] = tuple
        self._clock = clock
        self._since: float | None = None

    def begin(self) -> None:
        """A round begins, or begins again."""
        if self._since is None:
            self._since = self._clock()

    def rest(self) -> None:
        """What was begun has come to its end, though it was no whole round."""
        self._since = None
        self.error = ""

    def done(self) -> None:
        """A round is done."""
        self.rest()
        self.proven = True

    def failed(self, error: object) -> None:
        """A round has failed, and is tried again."""
        self.begin()
        self.error = str(error)

    def stood(self) -> float:
        """Return for how many seconds it has not got through: 0 if it does, or has nothing to do."""
        return 0.0 if self._since is None else self._clock() - self._since


class Way:
    """The parts that an event passes in one daemon. `cause`: why some stand still, as far as is known."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.publishing = Progress("publishing", clock, proven=True)
        self.polling = Progress("polling", clock)
        self.routing = Progress("routing", clock)
        self.bulk_routing = Progress("routing of bursts", clock)
        self.claiming = Progress("claiming", clock)
        self.recording = Progress("recording", clock)
        self.parts = (
            self.publishing,
            self.polling,
            self.routing,
            self.bulk_routing,
            self.claiming,
            self.recording,
        )
        self.cause = ""

    def standing(self) -> list[Progress]:
        """Return the parts that stand still."""
        return [part for part in self.parts if part.stood() > PATIENCE]

    def unproven(self) -> list[Progress]:
        """Return the parts that have not done a round since the start."""
        return [part for part in self.parts if not part.proven]

    def works(self) -> bool:
        """Return whether all parts have done a round and none stands still."""
        return not self.unproven() and not self.standing()
