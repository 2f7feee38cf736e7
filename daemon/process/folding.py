"""Which of many lines that say the same are written: the first few, then one a minute that counts the others.

Pure: it is told the time. What others cause, such as ten thousand refused connections a minute, fills neither
the log nor, as the kinds of lines that it remembers are bounded too, the memory.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

WINDOW = 60.0
FIRST = 3
MAX_KINDS = 500

Kind = TypeVar("Kind", bound=Hashable)


@dataclass(slots=True)
class _Window:
    ends: float
    room: int
    counted: int = 0


class Folding(Generic[Kind]):
    """Counts lines by kind, which stands for what they have in common; those beyond `most` are `others`.

    Times in seconds.
    """

    def __init__(
        self, others: Kind, *, window: float = WINDOW, first: int = FIRST, most: int = MAX_KINDS
    ) -> None:
        self._others = others
        self._window = window
        self._first = first
        self._most = most
        self._kinds: OrderedDict[Kind, _Window] = OrderedDict()  # as their windows end

    def is_written(self, kind: Kind, now: float) -> bool:
        """Tell whether a line is to be written; if not, it is counted. Ask `due` before."""
        known = self._kinds.get(kind)
        if known is None:
            kind = kind if len(self._kinds) < self._most else self._others
            room = 0 if kind == self._others else self._first
            known = self._kinds.setdefault(kind, _Window(now + self._window, room))
        if known.room > 0:
            known.room -= 1
            return True
        known.counted += 1
        return False

    def due(self, now: float) -> list[tuple[Kind, int]]:
        """Return the kinds of which a line is to be written now, each with how many it stands for.

        A kind of which nothing came for a whole window begins anew.
        """
        found: list[tuple[Kind, int]] = []
        while self._kinds:
            kind, known = next(iter(self._kinds.items()))
            if known.ends > now:
                break
            del self._kinds[kind]
            if known.counted:
                found.append((kind, known.counted))
                self._kinds[kind] = _Window(now + self._window, 0)
        return found

    def rest(self) -> list[tuple[Kind, int]]:
        """Return what is counted and not yet told, and forget all: for the end."""
        found = [(kind, known.counted) for kind, known in self._kinds.items() if known.counted]
        self._kinds.clear()
        return found
