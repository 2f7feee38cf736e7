"""Retry-After (RFC 9110 section 10.2.3): how long a receiver asks to be left alone."""

import re
from datetime import UTC, datetime

_MAX_LENGTH = 64
_SECONDS = re.compile(rb"(-?)([0-9]+)")
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# RFC 9110 section 5.6.7: the preferred form, then the two obsolete ones that recipients must still read.
_DATES = (
    re.compile(rb"[a-z]{3}, (?P<day>\d\d) (?P<month>[a-z]{3}) (?P<year>\d{4}) " + _TIME + rb" gmt"),
    re.compile(rb"[a-z]{6,9}, (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) " + _TIME + rb" gmt"),
    re.compile(rb"[a-z]{3} (?P<month>[a-z]{3}) (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})"),
)
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()


def parse_retry_after(value: bytes, *, now: datetime, maximum: float) -> float | None:
    """Return the seconds from `now` (aware) that the header's `value` asks for, from 0 to `maximum`.

    A past date or a negative number gives 0, anything that is neither a number of seconds nor a date gives
    None. Never raises, whatever the bytes.
    """
    value = value.strip(b" \t").lower()
    if len(value) > _MAX_LENGTH:
        return None
    if seconds := _SECONDS.fullmatch(value):
        return 0.0 if seconds[1] else min(float(seconds[2]), maximum)
    for form in _DATES:
        if match := form.fullmatch(value):
            moment = _moment(match, now)
            return None if moment is None else min(max((moment - now).total_seconds(), 0.0), maximum)
    return None


def _moment(match: re.Match[bytes], now: datetime) -> datetime | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        # RFC 9110 section 5.6.7: what seems more than 50 years ahead is in the past.
        year += now.year - now.year % 100
        if year > now.year + 50:
            year -= 100
    try:
        return datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59) if match["second"] == b"60" else int(match["second"]),
            tzinfo=UTC,
        )
    except ValueError:
        return None
