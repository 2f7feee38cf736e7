"""Values of arguments, read strictly; each error says what to write instead."""

import argparse
from uuid import UUID

from daemon.config.durations import parse_duration


def organisation(text: str) -> UUID:
    """Return the UUID of an organisation."""
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a UUID: write it as 018f6d1e-6a00-7000-8000-000000000001"
        ) from None


def duration(text: str) -> float:
    """Return the seconds, more than none, that a duration such as 90s, 5m or 1h30m stands for."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all: give more than 0s")
    return seconds
