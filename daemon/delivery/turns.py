"""A queue in which hosts take turns, whatever their backlogs and whenever they came."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Round robin: of each host in the order in which they came, one of each before a second of any."""

    def __init__(self) -> None:
        self._of_host: dict[int, deque[T]] = {}
        self._hosts: deque[int] = deque()  # each that has something waiting, once
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def push(self, host: int, item: T) -> None:
        """Let `item` wait for the host's turn."""
        waiting = self._of_host.get(host)
        if waiting is None:
            self._of_host[host] = deque((item,))
            self._hosts.append(host)
        else:
            waiting.append(item)
        self._count += 1

    def pop(self) -> T:
        """Take what is next. Error: `IndexError` if nothing waits."""
        host = self._hosts.popleft()
        waiting = self._of_host[host]
        item = waiting.popleft()
        if waiting:
            self._hosts.append(host)
        else:
            del self._of_host[host]
        self._count -= 1
        return item
