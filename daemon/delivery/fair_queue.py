"""A queue in which hosts take turns, whatever their backlogs and whenever they came. Pure."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 1024
"""Hosts with nothing waiting whose last turns are remembered, beside as many as wait."""


class FairQueue(Generic[T]):
    """Round robin: of each host in the order in which they came, one of each before a second of any.

    A host that comes and has had no turn for a whole round is owed one, and goes first: it need not wait for
    all those with a backlog. These wait for twice a round at most. What has only just been published goes
    before all of them, every other turn: a claim may bring a hundred hosts that are owed one.
    """

    def __init__(self) -> None:
        self._of_host: dict[int, deque[T]] = {}
        # Each host that has something waiting is in one of them, once; in the round with the turn since when.
        self._round: deque[tuple[int, int]] = deque()
        self._owed: deque[int] = deque()
        self._fresh: deque[int] = deque()
        self._last: dict[int, int] = {}  # of a host, the number of its last turn
        self._turn = 0
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    @property
    def fresh(self) -> int:
        """At how many hosts something waits that has only just been published: every other turn is theirs."""
        return len(self._fresh)

    def push(self, host: int, item: T, *, fresh: bool = False) -> None:
        """Let `item` wait for the host's turn; `fresh`: it has only just been published."""
        waiting = self._of_host.get(host)
        if waiting is None:
            self._of_host[host] = deque((item,))
            last = self._last.get(host)
            if fresh:
                self._fresh.append(host)
            elif last is None or self._turn - last >= len(self._round):
                self._owed.append(host)
            else:
                self._round.append((host, self._turn))
        else:
            waiting.append(item)
        self._count += 1

    def pop(self) -> T:
        """Take what is next. Error: `IndexError` if nothing waits."""
        if self._fresh and (self._turn % 2 or not (self._owed or self._round)):
            host = self._fresh.popleft()
        elif self._owed and not (self._round and self._turn - self._round[0][1] >= 2 * len(self._of_host)):
            host = self._owed.popleft()
        else:
            host, _ = self._round.popleft()
        self._turn += 1
        self._last[host] = self._turn
        waiting = self._of_host[host]
        item = waiting.popleft()
        if waiting:
            self._round.append((host, self._turn))
        else:
            del self._of_host[host]
            if len(self._last) > REMEMBERED + 2 * len(self._of_host):
                self._forget()
        self._count -= 1
        return item

    def _forget(self) -> None:
        """Keep no turns that are longer ago than a round, for those hosts are owed one anyway."""
        since = self._turn - min(len(self._round), REMEMBERED // 2)
        self._last = {host: turn for host, turn in self._last.items() if turn > since}
