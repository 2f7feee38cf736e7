"""UUIDv7s (RFC 9562 section 5.7): identifiers that sort by the time at which they were made."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from asyncpg.pgproto import pgproto

from daemon.rfc3339 import rfc3339

_TICKS = 4096  # a millisecond
_CLOCK_SET_BACK = 10_000 * _TICKS  # beyond that, the clock was wrong before and is followed


class NewIds:
    """Makes UUIDv7s (RFC 9562 section 5.7) of the time that `now` gives in Unix seconds.

    Each is greater than the one before, also while the clock stands or is set back by less than ten seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last_tick = 0

    def __call__(self) -> UUID:
        """Return a new id."""
        tick = int(self._now() * 1000 * _TICKS)
        if 0 <= self._last_tick - tick < _CLOCK_SET_BACK:
            tick = self._last_tick + 1
        self._last_tick = tick
        return _uuid7(tick)


_ids_of_this_machine = NewIds(time.time)


def uuid7(at: float | None = None) -> UUID:
    """Return a new UUIDv7 for the time `at` in Unix seconds, by default this machine's own.

    What the daemon makes has the database's time: see `NewIds`.
    """
    return _ids_of_this_machine() if at is None else _uuid7(int(at * 1000 * _TICKS))


def _uuid7(tick: int) -> UUID:
    """Return one of this part of a millisecond: the 12 bits after the version (section 6.2, method 3)."""
    time_bits = (tick >> 12 & (1 << 48) - 1) << 80 | (tick & 0xFFF) << 64
    random_bits = int.from_bytes(os.urandom(8)) >> 2
    # A uuid.UUID that is made, written out and sent to Postgres in less time; what comes from there is one.
    return pgproto.UUID((time_bits | 0x7 << 76 | 0x2 << 62 | random_bits).to_bytes(16))


def uuid7_time(identifier: UUID) -> datetime:
    """Return the moment, to the millisecond, that a UUIDv7 carries."""
    return _at(identifier.int >> 80)


def uuid7_rfc3339(identifier: UUID) -> str:
    """Return that moment in RFC 3339 form, in UTC with `Z` and milliseconds."""
    return _rfc3339_at(identifier.int >> 80)


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@lru_cache(maxsize=16)  # many events are made in the same millisecond
def _rfc3339_at(milliseconds: int) -> str:
    return rfc3339(_at(milliseconds))
