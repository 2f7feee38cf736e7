"""Columns of rows as asyncpg takes them, which looks at every element for half a microsecond. Pure.

Most batches of results say the same in many of their columns; record() makes the rest of what is left out.
"""

from collections.abc import Callable
from typing import Any

Pack = Callable[[list[Any]], list[Any] | None]


def every(values: list[Any]) -> list[Any]:
    """Return the values as they are: they are hardly ever alike."""
    return values


def some(values: list[Any]) -> list[Any] | None:
    """Return the values, None if all are: unnest() makes the same of it, and it costs nothing."""
    return None if values.count(None) == len(values) else values


def alike(values: list[Any]) -> list[Any]:
    """Return the first for all if they are alike: record() makes as many of it."""
    return values[:1] if values and values.count(values[0]) == len(values) else values


def unusual(usual: object) -> Pack:
    """Return what gives the values, or None if all are the usual one, which record() knows."""

    def pack(values: list[Any]) -> list[Any] | None:
        return None if values.count(usual) == len(values) else values

    return pack
