"""Tokens that were found good, so that a signature is checked once and not with every request."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    caller: T
    keys: object
    since: float
    until: float


class KnownTokens(Generic[T]):
    """Whom each of the last `most` tokens speaks for; only their digests are kept."""

    def __init__(self, *, most: int = MAX_TOKENS, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[bytes, _Known[T]] = OrderedDict()

    def find(self, token: str, keys: object) -> T | None:
        """Return the caller of a token that the same `keys` found good, unless it is over or the clock is."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._kept.get(digest)
        if known is None:
            return None
        if known.keys is not keys or not known.since <= self._clock() < known.until:
            del self._kept[digest]
            return None
        return known.caller

    def keep(self, token: str, keys: object, caller: T, until: float) -> None:
        """Remember a token that is good `until` then, in Unix seconds."""
        self._kept[hashlib.sha256(token.encode()).digest()] = _Known(caller, keys, self._clock(), until)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
