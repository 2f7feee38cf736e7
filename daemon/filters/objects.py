"""Filters as objects: `{"country": "DE", "score": {"$gt": 0.5}}`, in the way of MongoDB's queries.

Each test is either true or false, and `$ne`, `$nin` and `$not` are the exact opposite of what they deny: a
member that is missing passes those, and nothing else but `{"$exists": false}`. A test of an array is one of
its elements too, as long as it has few.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from daemon.filters.text import number
from daemon.filters.tokens import Token, unquoted
from daemon.filters.tree import (
    FEW_ELEMENTS,
    MAX_DIGITS,
    MAX_INDEX,
    MAX_LENGTH,
    MAX_OBJECT_DEPTH,
    MAX_STEPS,
    MAX_VALUES,
    And,
    Comparator,
    Comparison,
    Condition,
    Element,
    EveryElement,
    Exists,
    FilterRefused,
    Member,
    Not,
    Or,
    Path,
    StartsWith,
    Step,
    Value,
    Where,
    check_amount,
)

_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$startsWith", "$exists")
_JOINING = ("$and", "$or", "$not")
_EQUAL: Mapping[str, bool] = {"$eq": True, "$ne": False}
_ONE_OF: Mapping[str, bool] = {"$in": True, "$nin": False}
_ORDER: Mapping[str, Comparator] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_PART = re.compile(
    r"""(?P<quoted>"(?:[^"\\]|\\.)*")|\[(?P<index>[*]|last|0|[1-9][0-9]*)\]|(?P<name>[^.\[\]"]+)""", re.DOTALL
)
_IS_ARRAY = Where(Comparison(Path(method="type"), "==", "array"))

Steps = tuple[Step, ...]


def condition_of(source: Mapping[str, Any]) -> Condition:
    """Return the tree of a filter's object. Error: `FilterRefused`, with a pointer to the part at fault."""
    if (
        length := len(json.dumps(source, ensure_ascii=False, separators=(",", ":"), default=str))
    ) > MAX_LENGTH:
        raise FilterRefused(f"has {length} characters as JSON; use at most {MAX_LENGTH}")
    condition = _object(source, (), "", 1)
    if (values := _count_values(source)) > MAX_VALUES:
        raise FilterRefused(f"compares with {values} values; use at most {MAX_VALUES}")
    check_amount(condition)
    return condition


def _count_values(part: Any) -> int:
    if isinstance(part, dict | list):
        return sum(map(_count_values, part.values() if isinstance(part, dict) else part))
    return 1


def _object(source: Mapping[str, Any], steps: Steps, pointer: str, depth: int) -> Condition:
    """Return the condition that all members of an object state about what `steps` lead to."""
    _check_depth(depth, pointer)
    if not source:
        _refuse(pointer, 'has no condition; name a member, as {"country": "DE"}')
    return _joined(And, [_member(key, value, steps, pointer, depth) for key, value in source.items()])


def _member(key: str, value: Any, steps: Steps, above: str, depth: int) -> Condition:
    pointer = f"{above}/{key.replace('~', '~0').replace('/', '~1')}"
    if key in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            _refuse(pointer, "must be a list of conditions")
        _check_depth(depth + 1, pointer)
        parts = [_either(one, steps, f"{pointer}/{n}", depth + 1) for n, one in enumerate(value)]
        return _joined(And if key == "$and" else Or, parts)
    if key == "$not":
        return Not(_either(value, steps, pointer, depth))
    if key.startswith("$"):
        if key not in _OPERATORS:
            known = ", ".join((*_OPERATORS, *_JOINING))
            _refuse(
                pointer, f'is not an operator; there are {known}. Quote a member of that name: "\\"$a\\""'
            )
        if not steps:
            _refuse(pointer, f'belongs to a member, as {{"country": {{"{key}": …}}}}')
        return _test(key, value, steps, pointer)
    return _either(value, _steps(key, steps, pointer), pointer, depth)


def _either(value: Any, steps: Steps, pointer: str, depth: int) -> Condition:
    """Return what an object states of its members, or what a bare value does: that it is equal."""
    if isinstance(value, dict):
        return _object(value, steps, pointer, depth + 1)
    if not steps:
        _refuse(pointer, 'must be an object, as {"country": "DE"}')
    return _test("$eq", value, steps, pointer)


def _test(operator: str, value: Any, steps: Steps, pointer: str) -> Condition:
    if operator in _EQUAL:
        equal = _some(steps, _equal([_value(value, pointer)]))
        return equal if _EQUAL[operator] else Not(equal)
    if operator in _ONE_OF:
        if not isinstance(value, list) or not value:
            _refuse(pointer, 'must be a list of values, as ["DE", "FR"]')
        one_of = _some(steps, _equal([_value(one, f"{pointer}/{n}") for n, one in enumerate(value)]))
        return one_of if _ONE_OF[operator] else Not(one_of)
    if operator in _ORDER:
        bound, comparator = _value(value, pointer), _ORDER[operator]
        if bound is None or isinstance(bound, bool):
            _refuse(pointer, "must be a number or a text")
        return _some(steps, lambda path: Comparison(path, comparator, bound))
    if operator == "$startsWith":
        if not isinstance(value, str):
            _refuse(pointer, "must be a text")
        prefix = _text(value, pointer)
        return _some(steps, lambda path: StartsWith(path, prefix))
    if not isinstance(value, bool):
        _refuse(pointer, "must be true or false")
    return _exists(steps) if value else Not(_exists(steps))


def _some(steps: Steps, test: Callable[[Path], Condition]) -> Condition:
    """Return whether the test holds for what `steps` lead to, or for one of its few elements.

    What `steps` do not lead to is left out before they are gone, so the answer is never unknown.
    """
    if EveryElement() in steps:
        elements, rest = _split(steps)
        return Exists(Path((*elements, Where(test(Path(rest))))))
    here = (*_if_there(steps), *steps)
    holds = Where(test(Path()))
    return Or((Exists(Path((*here, holds))), Exists(Path((*here, FEW_ELEMENTS, EveryElement(), holds)))))


def _exists(steps: Steps) -> Condition:
    if EveryElement() in steps:
        elements, rest = _split(steps)
        return Exists(Path((*elements, Where(Exists(Path(rest))))))
    return Exists(Path(_if_there(steps)))


def _split(steps: Steps) -> tuple[Steps, Steps]:
    """Return the steps to the elements of an array, if it is one, and those that lead on from there."""
    place = steps.index(EveryElement())
    array = steps[:place]
    return (*_if_there(array), *array, _IS_ARRAY, EveryElement()), steps[place + 1 :]


def _if_there(steps: Steps) -> Steps:
    return (Where(Exists(Path(steps))),) if steps else ()


def _equal(values: list[Value]) -> Callable[[Path], Condition]:
    return lambda path: _joined(Or, [Comparison(path, "==", value) for value in values])


def _joined(join: type[And] | type[Or], parts: Iterable[Condition]) -> Condition:
    several = tuple(parts)
    return several[0] if len(several) == 1 else join(several)


def _steps(key: str, before: Steps, pointer: str) -> Steps:
    """Return `before` and the steps that a key stands for: `a.b`, `"a.b"` in quotes, `a[0].b`, `a[*]`."""
    steps = list(before)
    place = 0
    while place < len(key) or not place:
        if place and key[place] == ".":
            place += 1
            part = _PART.match(key, place)
            if part is None or part["index"]:
                _refuse(pointer, 'has a member without a name; quote one with dots in it: "\\"a.b\\""')
        else:
            part = _PART.match(key, place)
            if part is None or (place and not part["index"]):
                _refuse(
                    pointer, 'is no path of members, as a.b, a[0].b or a[*]; quote other names: "\\"a[b\\""'
                )
        steps.append(_step(part, pointer, wide=EveryElement() in steps))
        place = part.end()
    if len(steps) > MAX_STEPS:
        _refuse(pointer, f"is too deep; use a path of at most {MAX_STEPS} members")
    return tuple(steps)


def _step(part: re.Match[str], pointer: str, wide: bool) -> Step:
    if part["quoted"]:
        try:
            return Member(unquoted(Token("string", part["quoted"], part.start())))
        except FilterRefused as error:
            _refuse(pointer, error.detail)
    if part["name"]:
        if part["name"].startswith("$"):
            _refuse(pointer, "has an operator in its path; put it into an object below the member")
        return Member(_text(part["name"], pointer))
    if part["index"] == "*":
        if wide:
            _refuse(pointer, "one [*] is the most in a condition; name an element, or state two conditions")
        return EveryElement()
    if part["index"] == "last":
        return Element(None)
    if len(part["index"]) > len(str(MAX_INDEX)):
        _refuse(pointer, f"has too high an index; use at most {MAX_INDEX}")
    return Element(int(part["index"]))


def _value(value: Any, pointer: str) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, pointer)
    if isinstance(value, dict | list):
        _refuse(pointer, "must be a text, a number, true, false or null; for several values write $in")
    found = number(repr(value)) if isinstance(value, int | float) and _is_short(value) else None
    if found is None:
        _refuse(pointer, f"must be a number of up to {MAX_DIGITS} characters that a double can hold")
    return found


def _is_short(value: float) -> bool:
    return abs(value) < 10**MAX_DIGITS if isinstance(value, int) else value - value == 0


def _text(text: str, pointer: str) -> str:
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        _refuse(
            pointer, "holds a NUL character or half of a surrogate pair, which no event does; leave it out"
        )
    return text


def _check_depth(depth: int, pointer: str) -> None:
    if depth > MAX_OBJECT_DEPTH:
        _refuse(pointer, f"lies too deep; put at most {MAX_OBJECT_DEPTH} objects and lists inside each other")


def _refuse(pointer: str, detail: str) -> NoReturn:
    raise FilterRefused(detail, pointer)
