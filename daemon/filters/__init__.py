"""The language of subscriptions' filters: read into a tree of allowed parts, written as SQL/JSON paths. Pure.

A filter is allowed by what it is: every part that the tree has is cheap, and the tree is bounded, so what a
filter costs grows with the event's size and with nothing else. There are two ways to write one, a text
(`daemon.filters.text`) and an object (`daemon.filters.objects`); both give the same tree.
"""

import json
from typing import Any

from daemon.filters.objects import condition_of
from daemon.filters.text import parse
from daemon.filters.tree import MAX_LENGTH, FilterRefused
from daemon.filters.writing import write

__all__ = ["MAX_LENGTH", "FilterRefused", "path_of", "shown", "stored"]

Source = str | dict[str, Any]
"""A filter as its owner wrote it."""


def path_of(source: Source) -> str:
    """Return a filter as an SQL/JSON path in its one normal form. Error: `FilterRefused`."""
    return write(parse(source) if isinstance(source, str) else condition_of(source))


def stored(source: Source) -> str:
    """Return a filter as one text to keep; an object is told by its first character, which no path has."""
    return source if isinstance(source, str) else json.dumps(source, separators=(",", ":"))


def shown(text: str) -> Source:
    """Return what `stored` was given."""
    return json.loads(text) if text.startswith("{") else text
