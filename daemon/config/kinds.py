"""Kinds of values: how each is read from TOML, within which limits, and how it is shown again.

A kind stands in a field's `Annotated[...]`. Its `read` raises ValueError with the end of a sentence
(`delivery.timeout = 0 is out of range: …`), so that every complaint says what is allowed.
"""

import math
from collections.abc import Callable
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from daemon.config.durations import (
    DURATION_FORM,
    SIZE_FORM,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


class Kind:
    """Base of all kinds."""

    def read(self, value: object) -> Any:
        """Return the Python value for a value from TOML; raises ValueError."""
        raise NotImplementedError

    def show(self, value: Any) -> Any:
        """Return what one would write in TOML for `value`."""
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read with `read` and, for JSON and TOML, write with `show`."""
        shown = core_schema.plain_serializer_function_ser_schema(self.show, when_used="json-unless-none")
        return core_schema.no_info_plain_validator_function(self.read, serialization=shown)


class Number(Kind):
    """A number from `low` to `high`."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def read(self, value: object) -> float:
        """Return `value` as a float; whole numbers are accepted, NaN and infinity are not."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("is not a number")
        _check_range(value, self.low, self.high)
        return float(value)


class Whole(Kind):
    """A whole number from `low` to `high`."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def read(self, value: object) -> int:
        """Return `value` itself."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("is not a whole number")
        _check_range(value, self.low, self.high)
        return value


class Duration(Kind):
    """A duration, in seconds in Python; the limits are written as in TOML."""

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = parse_duration(low), parse_duration(high)

    def read(self, value: object) -> float:
        """Return seconds: from text such as "5m", or from a bare number of seconds."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"is not {DURATION_FORM}")
        seconds = parse_duration(value) if isinstance(value, str) else value
        _check_range(seconds, self.low, self.high, format_duration)
        return float(seconds)

    def show(self, value: float) -> str:
        """Return the form with units."""
        return format_duration(value)


class Size(Kind):
    """A number of bytes; the limits are written as in TOML."""

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = parse_size(low), parse_size(high)

    def read(self, value: object) -> int:
        """Return bytes: from text such as "64KiB", or from a whole number of bytes."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"is not {SIZE_FORM}")
        size = parse_size(value) if isinstance(value, str) else value
        _check_range(size, self.low, self.high, format_size)
        return size

    def show(self, value: int) -> str | int:
        """Return the form with units where one divides it."""
        return format_size(value)


class Text(Kind):
    """Text; `check`, where given, returns it in its usual form or raises ValueError."""

    def __init__(self, check: Callable[[str], str] | None = None) -> None:
        self.check = check

    def read(self, value: object) -> str:
        """Return the text, without what no setting can mean: control characters."""
        if not isinstance(value, str):
            raise ValueError("is not text: put it in quotes")
        if not value.isprintable():
            raise ValueError("has a control character in it: leave it out")
        return self.check(value) if self.check else value


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def read(self, value: object) -> str:
        """Return the word."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError("is not one of " + ", ".join(f'"{word}"' for word in self.words))
        return value


class Switch(Kind):
    """true or false."""

    def read(self, value: object) -> bool:
        """Return `value` itself."""
        if not isinstance(value, bool):
            raise ValueError("is not true or false (without quotes)")
        return value


def _check_range(
    value: float, low: float, high: float, show: Callable[[Any], object] = lambda number: number
) -> None:
    if math.isnan(value) or not low <= value <= high:
        raise ValueError(f"is out of range: allowed is {show(low)} to {show(high)}")
