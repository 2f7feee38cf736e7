"""Durations ("1h30m") and sizes ("1MiB") as people write them, and back."""

import re
from decimal import Decimal

_DURATION_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZE_UNITS = {
    "": 1, "B": 1,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
    "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
}  # fmt: skip

_NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"
_DURATION = re.compile(
    rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?", re.ASCII
)
_BARE = re.compile(_NUMBER, re.ASCII)
_SIZE = re.compile(r"(\d{1,15}) ?([A-Za-z]*)", re.ASCII)

DURATION_FORM = 'a duration such as "250ms", "30s", "5m", "2h", "5d" or "1h30m"'
SIZE_FORM = 'a size such as "64KiB", "1MiB", "8MB" or a whole number of bytes'


def parse_duration(text: str) -> float:
    """Return the seconds that `text` stands for; raises ValueError if it is no duration.

    The units are d, h, m, s and ms, the largest first; a number without a unit is seconds.
    """
    if _BARE.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise ValueError(f"is not {DURATION_FORM}")
    days, hours, minutes, seconds, milliseconds = (Decimal(part or 0) for part in found.groups())
    whole = days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    return float(whole + milliseconds / 1000)


def format_duration(seconds: float) -> str:
    """Return the shortest usual form of a duration, which `parse_duration` reads back to the same number."""
    exact = Decimal(repr(float(seconds)))
    rest = int(exact)
    parts = []
    for unit, length in _DURATION_UNITS.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    milliseconds = exact % 1 * 1000
    if milliseconds:
        parts.append(f"{milliseconds.normalize():f}ms")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Return the bytes that `text` stands for; raises ValueError if it is no size.

    The units are B, KiB, MiB, GiB (powers of 1024), kB, MB, GB (powers of 1000); without one it is bytes.
    """
    found = _SIZE.fullmatch(text)
    if not found or found[2] not in _SIZE_UNITS:
        raise ValueError(f"is not {SIZE_FORM}")
    return int(found[1]) * _SIZE_UNITS[found[2]]


def format_size(size: int) -> str | int:
    """Return `size` with the largest binary unit that divides it, or as a plain number of bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return size
