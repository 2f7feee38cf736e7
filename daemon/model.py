"""Words that every part of hookd shares: identifiers, roles and the outcome of an attempt."""

import os
import time
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from asyncpg.pgproto import pgproto


class Role(StrEnum):
    """Roles that a token may carry (the `roles` claim)."""

    ORG_ADMIN = "org_admin"
    PUBLISHER = "publisher"
    PLATFORM = "platform"


_TICKS = 4096  # a millisecond
_CLOCK_SET_BACK = 10_000 * _TICKS  # beyond that, the clock was wrong before and is followed
_last_tick = 0


def uuid7(at: float | None = None) -> UUID:
    """Return a new UUIDv7 (RFC 9562 section 5.7) for the time `at` in Unix seconds, by default now.

    The 12 bits after the version hold parts of a millisecond (section 6.2, method 3). Of the ids that a
    process makes for now, each is greater than the one before, also while the clock stands or is set back by
    less than ten seconds.
    """
    tick = time.time_ns() * _TICKS // 1_000_000 if at is None else int(at * 1000 * _TICKS)
    if at is None:
        global _last_tick
        if 0 <= _last_tick - tick < _CLOCK_SET_BACK:
            tick = _last_tick + 1
        _last_tick = tick
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


def rfc3339(moment: datetime, *, milliseconds: bool = True) -> str:
    """Return `moment` in RFC 3339 form, in UTC with `Z`; with milliseconds unless told otherwise."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")
