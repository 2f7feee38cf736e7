"""Trees as SQL/JSON paths (ISO/IEC 9075-2), in one normal form that Postgres reads as it is meant."""

import json
from decimal import Decimal

from daemon.filters.tree import (
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
    Step,
    Value,
    Where,
)


def write(condition: Condition) -> str:
    """Return the tree as a path in strict mode."""
    return f"strict {_condition(condition, '$')}"


def _condition(condition: Condition, root: str) -> str:
    match condition:
        case Comparison(path, comparator, value):
            return f"{_path(path, root)} {comparator} {_value(value)}"
        case StartsWith(path, prefix):
            return f"{_path(path, root)} starts with {_quoted(prefix)}"
        case Exists(path):
            return f"exists({_path(path, root)})"
        case Not(inner):
            return f"!({_condition(inner, root)})"
        case And(several):
            return " && ".join(_grouped(one, root) for one in several)
        case Or(several):
            return " || ".join(_grouped(one, root) for one in several)


def _grouped(condition: Condition, root: str) -> str:
    text = _condition(condition, root)
    return f"({text})" if isinstance(condition, And | Or) else text


def _path(path: Path, root: str) -> str:
    method = "" if path.method is None else f".{path.method}()"
    return root + "".join(map(_step, path.steps)) + method


def _step(step: Step) -> str:
    match step:
        case Member(name):
            return f".{_quoted(name)}"
        case Element(index):
            return "[last]" if index is None else f"[{index}]"
        case EveryElement():
            return "[*]"
        case Where(condition):
            return f" ? ({_condition(condition, '@')})"


def _value(value: Value) -> str:
    if isinstance(value, Decimal):
        return str(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
