"""Filters as a plain reader of their trees takes them, and any trees, to hold Postgres and the parser to."""

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from daemon.filters.tree import (
    MAX_INDEX,
    And,
    Comparison,
    Condition,
    Element,
    EveryElement,
    Exists,
    Member,
    Not,
    Or,
    Path,
    StartsWith,
    Value,
    Where,
)

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class NowhereError(Exception):
    """A path leads nowhere, which in strict mode is an error."""


def holds(condition: Condition, data: Any) -> bool | None:
    """Return whether a condition holds for data whose numbers are decimals; None: unknown."""
    match condition:
        case Not(inner):
            found = holds(inner, data)
            return None if found is None else not found
        case And(several):
            return _joined([holds(one, data) for one in several], decisive=False)
        case Or(several):
            return _joined([holds(one, data) for one in several], decisive=True)
        case Exists(path):
            return _of_values(path, data, lambda _: True)
        case StartsWith(path, prefix):
            return _of_values(
                path, data, lambda value: value.startswith(prefix) if isinstance(value, str) else None
            )
        case Comparison(path, comparator, literal):
            return _of_values(path, data, lambda value: _compared(value, comparator, literal))


def _joined(several: list[bool | None], decisive: bool) -> bool | None:
    if decisive in several:
        return decisive
    return None if None in several else not decisive


def _of_values(path: Path, data: Any, test: Callable[[Any], bool | None]) -> bool | None:
    try:
        found = [test(value) for value in _values(path, data)]
    except NowhereError:
        return None
    return None if None in found else any(found)


def _compared(value: Any, comparator: str, literal: Value) -> bool | None:
    if (value is None) != (literal is None):
        return comparator == "!="
    if value is None:
        return OPERATORS[comparator](0, 0)
    if type(value) is not type(literal):
        return None
    return OPERATORS[comparator](value, literal)


def _values(path: Path, data: Any) -> list[Any]:
    values = [data]
    for step in path.steps:
        if isinstance(step, Where):
            values = [value for value in values if holds(step.condition, value)]
        else:
            values = [found for value in values for found in _step(step, value)]
    if path.method == "size":
        if not all(isinstance(value, list) for value in values):
            raise NowhereError
        return [Decimal(len(value)) for value in values]
    return [_type(value) for value in values] if path.method == "type" else values


def _step(step: Member | Element | EveryElement, value: Any) -> list[Any]:
    if isinstance(step, Member):
        if not isinstance(value, dict) or step.name not in value:
            raise NowhereError
        return [value[step.name]]
    if not isinstance(value, list):
        raise NowhereError
    if isinstance(step, EveryElement):
        return value
    index = len(value) - 1 if step.index is None else step.index
    if not 0 <= index < len(value):
        raise NowhereError
    return [value[index]]


def _type(value: Any) -> str:
    if isinstance(value, Decimal):
        return "number"
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names[type(value)]


# Texts that anything could take for something else.
KEYS = st.sampled_from(
    ["a", "b", "size", "strict", "exists", "a b", 'q"', "\\", "$x", "@", "é", "😀", "", "1"]
)
STRINGS = st.sampled_from(
    ["", "a", "ab", "b", 'x"y', "\\n", "\n\x1f\x7f", "é", "😀", "\uffff", "&& ||", "array"]
)
NUMBERS = st.sampled_from(["0", "1", "2", "-1", "0.5", "-0.25", "1E+3", "1E-7", "9" * 30, "-1E+300"]).map(
    Decimal
)
VALUES: st.SearchStrategy[Value] = st.one_of(st.none(), st.booleans(), STRINGS, NUMBERS)
_INDEXES = st.one_of(st.none(), st.integers(0, 2), st.just(MAX_INDEX))


@st.composite
def paths(draw: st.DrawFn, root: str = "$", wide: bool = False) -> Path:
    steps: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from("mmmeaw"))
        if kind == "m":
            steps.append(Member(draw(KEYS)))
        elif kind == "e":
            steps.append(Element(draw(_INDEXES)))
        elif kind == "a" and not wide:
            wide = True
            steps.append(EveryElement())
        elif kind == "w" and root == "$":
            steps.append(Where(draw(conditions("@", wide, 1))))
    return Path(tuple(steps), draw(st.sampled_from([None, None, None, "size", "type"])))


@st.composite
def conditions(draw: st.DrawFn, root: str = "$", wide: bool = False, depth: int = 3) -> Condition:
    kind = draw(st.sampled_from("cccsenao" if depth else "ccse"))
    inner = conditions(root, wide, depth - 1)
    if kind == "n":
        return Not(draw(inner))
    if kind in "ao":
        several = tuple(draw(st.lists(inner, min_size=2, max_size=3)))
        return And(several) if kind == "a" else Or(several)
    path = draw(paths(root, wide))
    if kind == "s":
        return StartsWith(path, draw(STRINGS))
    if kind == "e":
        return Exists(path)
    return Comparison(path, draw(st.sampled_from(list(OPERATORS))), draw(VALUES))


DATA = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


def matches(source: dict[str, Any], data: Any) -> bool:
    """Return whether data match a filter written as an object, whose keys have no dots and brackets."""
    return all(_member_matches(key, value, data) for key, value in source.items())


def _member_matches(key: str, value: Any, data: Any) -> bool:
    if key == "$not":
        return not _states(value, data)
    if key in ("$and", "$or"):
        return (all if key == "$and" else any)(_states(one, data) for one in value)
    if key.startswith("$"):
        return _test_passes(key, value, data)
    return _states(value, data[key] if isinstance(data, dict) and key in data else NowhereError)


def _states(value: Any, data: Any) -> bool:
    return matches(value, data) if isinstance(value, dict) else _test_passes("$eq", value, data)


def _test_passes(operator: str, value: Any, data: Any) -> bool:
    if operator in ("$ne", "$nin"):
        return not _test_passes({"$ne": "$eq", "$nin": "$in"}[operator], value, data)
    if operator == "$exists":
        return (data is not NowhereError) is value
    tests: dict[str, Callable[[Any], Any]] = {
        "$eq": lambda one: _compared(one, "==", value),
        "$in": lambda one: any(_compared(one, "==", each) for each in value),
        "$startsWith": lambda one: isinstance(one, str) and one.startswith(value),
        "$gt": lambda one: _compared(one, ">", value),
        "$gte": lambda one: _compared(one, ">=", value),
        "$lt": lambda one: _compared(one, "<", value),
        "$lte": lambda one: _compared(one, "<=", value),
    }
    return any(tests[operator](one) for one in [data, *(data if isinstance(data, list) else [])])


_PLAIN = st.sampled_from(["a", "b", "a b", "size", "é"])
_ORDERED = st.one_of(STRINGS, NUMBERS)
_TESTS = st.one_of(
    VALUES,
    st.fixed_dictionaries({}, optional={
        "$eq": VALUES, "$ne": VALUES, "$gt": _ORDERED, "$gte": _ORDERED, "$lt": _ORDERED, "$lte": _ORDERED,
        "$in": st.lists(VALUES, min_size=1, max_size=3), "$nin": st.lists(VALUES, min_size=1, max_size=3),
        "$startsWith": STRINGS, "$exists": st.booleans(),
    }).filter(bool),
)  # fmt: skip
OBJECTS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(_PLAIN, _TESTS, min_size=1, max_size=3),
    lambda inner: st.one_of(
        st.dictionaries(_PLAIN, inner, min_size=1, max_size=2),
        st.builds(
            lambda key, parts: {key: parts},
            st.sampled_from(["$and", "$or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=4,
)
PLAIN_DATA = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_PLAIN, inner, max_size=4)),
    max_leaves=8,
)
