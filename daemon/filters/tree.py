"""What a filter can be made of, and how much of it.

All is told in strict mode: a path that leads nowhere makes its condition unknown, which does not pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Literal

MAX_LENGTH = 4000
"""Characters of a filter, as text or as JSON."""
MAX_DEPTH = 12
"""Conditions inside each other, each in parentheses."""
MAX_OBJECT_DEPTH = 10
"""Objects and lists inside each other; as text, what is in them lies up to two levels deeper."""
MAX_TESTS = 300
"""Comparisons of all kinds, `exists` among them."""
MAX_VALUES = 50
"""Values that an object compares with; each makes up to five tests."""
MAX_ELEMENT_TESTS = 5
"""Of these, those that are made on every element of an array. An event of 1 MiB has half a million."""
MAX_STEPS = 20
"""Steps of one path."""
MAX_INDEX = 999_999
MAX_DIGITS = 40
"""Characters of a number."""
MAX_EXPONENT = 308
"""As far as a double goes."""

Value = str | Decimal | bool | None
Comparator = Literal["==", "!=", "<", "<=", ">", ">="]
Method = Literal["size", "type"]


class FilterRefused(Exception):
    """A filter is not allowed: what is at fault and what to write instead.

    `pointer` leads to the part of an object that is meant (RFC 6901), empty for a text.
    """

    def __init__(self, detail: str, pointer: str = "") -> None:
        self.detail = detail
        self.pointer = pointer
        super().__init__(f"{pointer}: {detail}" if pointer else detail)


@dataclass(frozen=True, slots=True)
class Member:
    """`.name`, written `."name"`."""

    name: str


@dataclass(frozen=True, slots=True)
class Element:
    """`[index]` from 0; None: the last one."""

    index: int | None


@dataclass(frozen=True, slots=True)
class EveryElement:
    """`[*]`."""


@dataclass(frozen=True, slots=True)
class Where:
    """`?(condition)`, in which paths begin at `@`: what it is true for goes on."""

    condition: "Condition"


Step = Member | Element | EveryElement | Where


@dataclass(frozen=True, slots=True)
class Path:
    """From `$`, or in a `Where` from `@`, to values; or to the size or type of each."""

    steps: tuple[Step, ...] = ()
    method: Method | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """True if it holds for one of the values that the path leads to; unknown if types do not fit."""

    path: Path
    comparator: Comparator
    value: Value


@dataclass(frozen=True, slots=True)
class StartsWith:
    """As a comparison."""

    path: Path
    prefix: str


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether the path leads to something."""

    path: Path


@dataclass(frozen=True, slots=True)
class Not:
    """What is unknown stays so."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more."""

    conditions: tuple["Condition", ...]


Test = Comparison | StartsWith | Exists
Condition = Test | Not | And | Or

FEW_ELEMENTS = Where(Comparison(Path(method="size"), "<=", Decimal(1000)))
"""Before an `[*]`: leaves out what has more elements, and what is no array, so that what follows is cheap."""


def check_amount(condition: Condition) -> None:
    """Refuse a tree that does too much. Its depth is bounded by whoever made it. Error: `FilterRefused`."""
    tests = list(_tests(condition, on_elements=False))
    if len(tests) > MAX_TESTS:
        raise FilterRefused(f"has {len(tests)} comparisons; use at most {MAX_TESTS}")
    if (on_elements := sum(tests)) > MAX_ELEMENT_TESTS:
        raise FilterRefused(
            f"makes {on_elements} comparisons on every element of an array ([*]); use at most"
            f" {MAX_ELEMENT_TESTS}"
        )


def _tests(condition: Condition, on_elements: bool) -> Iterator[bool]:
    """Give for each test whether it is made on every element of an array."""
    match condition:
        case Not(inner):
            yield from _tests(inner, on_elements)
        case And(several) | Or(several):
            for one in several:
                yield from _tests(one, on_elements)
        case Comparison(path) | StartsWith(path) | Exists(path):
            for before, step in pairwise((None, *path.steps)):
                on_elements = on_elements or (isinstance(step, EveryElement) and before != FEW_ELEMENTS)
                if isinstance(step, Where):
                    yield from _tests(step.condition, on_elements)
            if not (isinstance(condition, Exists) and path.steps and isinstance(path.steps[-1], Where)):
                yield on_elements
