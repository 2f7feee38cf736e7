"""Moments as requests give them: RFC 3339 with an offset."""

import re
from datetime import UTC, datetime

ADVICE = "must be an RFC 3339 time with an offset, as in 2026-03-10T10:00:00Z"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def moment(text: str) -> datetime:
    """Return the moment that `text` names, in UTC. Error: ValueError; `ADVICE` says what to do."""
    if _RFC3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except OverflowError as error:
            raise ValueError(ADVICE) from error
    raise ValueError(ADVICE)
