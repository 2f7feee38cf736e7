"""Moments as hookd writes them: RFC 3339, in UTC."""

from datetime import UTC, datetime


def rfc3339(moment: datetime, *, milliseconds: bool = True) -> str:
    """Return `moment` in RFC 3339 form, in UTC with `Z`; with milliseconds unless told otherwise."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")
