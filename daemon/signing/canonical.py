"""Canonical JSON: the one text of an event, the same bytes by whichever way it was published.

The text is what `json.dumps(x, sort_keys=True, separators=(",", ":"))` gives. `parse` lets through only what
has such a text, can be kept as jsonb and read by every receiver: no NUL, no lone surrogate, no NaN.
"""

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite, isinf
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from daemon.model import uuid7_rfc3339


@dataclass(frozen=True, slots=True)
class BigInteger:
    """An integer kept as its digits: Python converts long ones in quadratic time, or refuses to."""

    digits: str


JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | BigInteger | None"

# However Python is configured, it converts integers of this length (sys.int_info.str_digits_check_threshold).
_EXACT_DIGITS = 640
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STEP = ((ord("[") + ord("]")) // 2).__sub__  # 1 for an opening bracket, -1 for a closing one
_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONGEST_POINTER = 200


class Unrepresentable(ValueError):
    """A text that is not JSON, or JSON that has no canonical form here.

    `reason` is one short sentence with the remedy. `pointer` is the JSON Pointer (RFC 6901) of the offending
    value, `line` and `column` (from 1) the place of a syntax error; each is None where it is not known.
    """

    def __init__(
        self, reason: str, *, pointer: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointer = pointer
        self.line = line
        self.column = column


class _NotFiniteError(Exception):
    """Carries out of the scanner what is wrong with a number."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class _RepeatedKeyError(Exception):
    """Carries out of the scanner that an object has a key twice."""


class _Repeating(dict[str, "JSON"]):
    """An object that had a key twice."""


def parse(text: str | bytes, *, max_depth: int, unique_keys: bool = False) -> JSON:
    """Return the value of a JSON text (RFC 8259); bytes must be UTF-8 without a byte order mark.

    Integers are exact at any length (long ones as `BigInteger`), other numbers doubles; of a repeated key the
    last one counts, as in jsonb, but with `unique_keys` it is refused (RFC 7493 section 2.3): not all readers
    agree. At most `max_depth` arrays and objects may lie inside each other. Raises `Unrepresentable`.
    """
    raw, text = _both_forms(text)
    # With escaped backslashes out of the way, each backslash that is left starts an escape.
    escapes = raw.replace(b"\\\\", b"..") if b"\\" in raw else raw
    if _deeper_than(escapes, max_depth):
        raise _too_deep(max_depth)
    try:
        value: JSON = (_UNIQUE_DECODER if unique_keys else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        raise Unrepresentable(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}; correct the text there",
            line=error.lineno,
            column=error.colno,
        ) from None
    except _NotFiniteError as error:
        raise _at_its_place(error.what, error.remedy, text) from None
    except _RepeatedKeyError:
        raise _at_its_place("an object with a key twice", "give each key once", text, _marked) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    if b"\\u" in escapes:
        if b"\\u0000" in escapes:
            raise _at_its_place("a NUL character (\\u0000)", "leave it out", text)
        if _SURROGATE.search(_SURROGATE_PAIR.sub(b".", escapes)):
            raise _at_its_place("half of a surrogate pair", "send the whole character", text)
    return value


def canonical(value: JSON) -> str:
    """Return the canonical text (ASCII) of a value that `parse` gave, or of one like it.

    Raises `Unrepresentable` for NaN, infinities and integers that Python will not write, and `TypeError` for
    what is not JSON.
    """
    try:
        try:
            return _ENCODER.encode(value)
        except TypeError:
            return _with_big_integers(value)
    except ValueError as error:
        raise Unrepresentable(f"a number that JSON cannot carry ({error}); send it as a string") from None


def nests_deeper(text: str, max_depth: int) -> bool:
    """Tell whether more than `max_depth` arrays and objects of a JSON text lie inside each other."""
    if text.count("[") + text.count("{") <= max_depth:
        return False
    return _deeper_than(text.encode().replace(b"\\\\", b".."), max_depth)


def event_body(event_id: UUID, event_type: str, data: JSON) -> str:
    """Return the canonical text of an event, the body of every request made for it. Raises as `canonical`.

    Its timestamp is the moment that the id, a UUIDv7, carries.
    """
    # The members in their order; an id and a timestamp need no escapes.
    told = f'"id":"{event_id}","timestamp":"{uuid7_rfc3339(event_id)}","type":{canonical(event_type)}'
    return f'{{"data":{canonical(data)},{told}}}'


def _both_forms(text: str | bytes) -> tuple[bytes, str]:
    try:
        if isinstance(text, str):
            raw = text.encode()
        else:
            raw, text = text, text.decode()
    except UnicodeEncodeError:
        raise Unrepresentable("holds half of a surrogate pair; send the whole character") from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise Unrepresentable(
            f"not UTF-8 at line {line}, byte {column}; encode the text as UTF-8", line=line, column=column
        ) from None
    if text.startswith("\ufeff"):
        raise Unrepresentable("starts with a byte order mark; leave it out", line=1, column=1)
    if not text or text.isspace():
        raise Unrepresentable("empty; send a JSON value", line=1, column=1)
    return raw, text


def _deeper_than(raw: bytes, max_depth: int) -> bool:
    """Tell whether brackets outside strings nest deeper than `max_depth`, without recursion."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return False
    if b'\\"' in raw:
        raw = raw.replace(b'\\"', b"..")
    skeleton = raw.translate(_BRACES_AS_BRACKETS, _NOT_STRUCTURE).replace(b'""', b"")
    brackets = b"".join(skeleton.split(b'"')[::2])
    return max(accumulate(map(_STEP, brackets)), default=0) > max_depth


def _too_deep(max_depth: int) -> Unrepresentable:
    return Unrepresentable(f"nested deeper than {max_depth} levels; flatten it")


def _integer(digits: str) -> int | BigInteger:
    return int(digits) if len(digits) <= _EXACT_DIGITS else BigInteger(digits)


def _double(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _NotFiniteError("a number beyond the range of a double", "send it as a string")
    return number


def _constant(name: str) -> NoReturn:
    raise _NotFiniteError(f"{name}, which JSON does not have", "send null or a string")


def _unique(pairs: list[tuple[str, JSON]]) -> JSON:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _RepeatedKeyError
    return value


def _marked(pairs: list[tuple[str, JSON]]) -> JSON:
    value = dict(pairs)
    return value if len(value) == len(pairs) else _Repeating(value)


def _with_big_integers(value: JSON) -> str:
    # The encoder asks in the order in which it writes, and no data can hold a nonce drawn after it.
    nonce = secrets.token_hex(16)
    found: list[str] = []

    def placeholder(item: object) -> str:
        if not isinstance(item, BigInteger):
            raise TypeError(f"{type(item).__name__} is not a JSON value; convert it first")
        found.append(item.digits)
        return nonce

    text = json.JSONEncoder(default=placeholder, **_FORM).encode(value)
    pieces = text.split(f'"{nonce}"')
    return "".join(part for pair in zip(pieces, [*found, ""], strict=True) for part in pair)


def _at_its_place(
    what: str, remedy: str, text: str, build: Callable[[list[tuple[str, JSON]]], JSON] = dict
) -> Unrepresentable:
    """Name the place of a fault by reading `text` once more, with its faults left in."""
    pointer = None
    with suppress(json.JSONDecodeError):  # a syntax error further on: then without the place
        decoder = json.JSONDecoder(parse_int=_integer, object_pairs_hook=build)
        pointer = _first_fault(decoder.decode(text))
    where = "" if pointer is None or len(pointer) > _LONGEST_POINTER else f" at {json.dumps(pointer)}"
    return Unrepresentable(f"holds {what}{where}; {remedy}", pointer=pointer)


def _first_fault(document: JSON) -> str | None:
    """Return the JSON Pointer of the first number or string with a fault; for a key, that of its object."""
    todo: list[tuple[str, JSON]] = [("", document)]
    while todo:
        pointer, value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value, _Repeating) or any(map(_faulty_text, value)):
                return pointer
            members = [(f"{pointer}/{k.replace('~', '~0').replace('/', '~1')}", v) for k, v in value.items()]
            todo.extend(reversed(members))
        elif isinstance(value, list):
            todo.extend(reversed([(f"{pointer}/{index}", item) for index, item in enumerate(value)]))
        elif isinstance(value, str):
            if _faulty_text(value):
                return pointer
        elif isinstance(value, float) and not isfinite(value):
            return pointer
    return None


def _faulty_text(text: str) -> bool:
    return any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


# What `parse` gives holds no circles, so looking for them would be for nothing.
_FORM: dict[str, Any] = {
    "sort_keys": True,
    "separators": (",", ":"),
    "allow_nan": False,
    "check_circular": False,
}
_ENCODER = json.JSONEncoder(**_FORM)
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_double, parse_constant=_constant)
_UNIQUE_DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_double, parse_constant=_constant, object_pairs_hook=_unique
)
