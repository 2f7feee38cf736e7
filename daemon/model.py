"""Words that every part of hookd shares: identifiers, roles and the outcome of an attempt."""

import os
import time
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """Roles that a token may carry (the `roles` claim)."""

    ORG_ADMIN = "org_admin"
    PUBLISHER = "publisher"
    PLATFORM = "platform"


def uuid7(at: float | None = None) -> UUID:
    """Return a new UUIDv7 (RFC 9562 section 5.7) for the time `at` in Unix seconds, by default now."""
    milliseconds = int((time.time() if at is None else at) * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def uuid7_time(identifier: UUID) -> datetime:
    """Return the moment, to the millisecond, that a UUIDv7 carries."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def rfc3339(moment: datetime, *, milliseconds: bool = True) -> str:
    """Return `moment` in RFC 3339 form, in UTC with `Z`; with milliseconds unless told otherwise."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")
