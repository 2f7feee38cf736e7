"""Columns of rows as asyncpg takes them, which looks at every element for half a microsecond. Pure."""

from typing import TypeVar

T = TypeVar("T")


def some(values: list[T]) -> list[T] | None:
    """Return the values, None if all are: unnest() makes the same of it, and it costs nothing."""
    return None if values.count(None) == len(values) else values  # type: ignore[arg-type]


def alike(values: list[T]) -> list[T]:
    """Return the first for all if they are alike: record() makes as many of it."""
    return values[:1] if values and values.count(values[0]) == len(values) else values
