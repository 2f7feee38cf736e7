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
from math import isfinite, isinf, nan
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from daemon.uuid7 import uuid7_rfc3339


@dataclass(frozen=True, slots=True)
class BigInteger:
    """An integer kept as its digits: Python converts long ones in quadratic time, or refuses to."""

    digits: str


JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | BigInteger | None"
_Path: TypeAlias = "tuple[_Path, str | int] | None"
"""The way to a value: that to what holds it, and its name or index there."""

# However Python is configured, it converts integers of this length (sys.int_info.str_digits_check_threshold).
_EXACT_DIGITS = 640
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STEP = ((ord("[") + ord("]")) // 2).__sub__  # 1 for an opening bracket, -1 for a closing one
_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_FAULTY_CHARACTER = re.compile("[\0\ud800-\udfff]")
_NOT_ZERO = re.compile("[-0.]*[1-9]")  # the digits before an exponent
_NOT_COUNTED = bytes(set(range(256)) - set(b',[{"'))
_MAX_PLACED_LENGTH = 16 * 1024  # characters
_MAX_POINTER_LENGTH = 200


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


class NotJson(Unrepresentable):
    """A text that is not JSON: `message` says what the parser found, `position` in how many characters."""

    def __init__(self, message: str, position: int, line: int, column: int) -> None:
        place = f"at line {line}, column {column}; correct the text there"
        super().__init__(f"not JSON: {message} {place}", line=line, column=column)
        self.message = message
        self.position = position


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


def parse(
    text: str | bytes, *, max_depth: int, max_values: int | None = None, unique_keys: bool = False
) -> JSON:
    """Return the value of a JSON text (RFC 8259); bytes must be UTF-8 without a byte order mark.

    Integers are exact at any length (long ones as `BigInteger`), other numbers doubles; of a repeated key the
    last one counts, as in jsonb, but with `unique_keys` it is refused (RFC 7493 section 2.3): not all readers
    agree. At most `max_depth` arrays and objects may lie inside each other, and there may be `max_values`
    values in all, which is found out before any is read. Raises `Unrepresentable`.
    """
    raw, text = both_forms(text)
    if max_values is not None and holds_more_values(raw, max_values):
        raise too_many_values(max_values)
    escapes = _without_escaped_backslashes(raw)
    if _deeper_than(escapes, max_depth):
        raise _too_deep(max_depth)
    value, _ = read_value(text, None, max_depth=max_depth, unique_keys=unique_keys)
    _check_escapes(escapes, text)
    return value


def read_value(text: str, at: int | None, *, max_depth: int, unique_keys: bool) -> tuple[JSON, int]:
    """Return the value that begins at `at` in a JSON text, and its end; with None, the one that is all of it.

    `check_text` has yet to be asked about its text. Raises `Unrepresentable`.
    """
    decoder = _UNIQUE_DECODER if unique_keys else _DECODER
    try:
        return (decoder.decode(text), len(text)) if at is None else decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise NotJson(error.msg, error.pos, error.lineno, error.colno) from None
    except _NotFiniteError as error:
        raise _at_its_place(error.what, error.remedy, text, at) from None
    except _RepeatedKeyError:
        raise _at_its_place("an object with a key twice", "give each key once", text, at, _marked) from None
    except RecursionError:
        raise _too_deep(max_depth) from None


def check_text(text: str, max_depth: int) -> None:
    """Raise `Unrepresentable` for a JSON text that is nested too deep or has escapes for what is no text."""
    escapes = _without_escaped_backslashes(text.encode())
    if _deeper_than(escapes, max_depth):
        raise _too_deep(max_depth)
    _check_escapes(escapes, text)


def holds_more_values(raw: bytes, most: int) -> bool:
    """Tell whether a JSON text has more than `most` values: items, members and those that hold them.

    Of what is not JSON it tells something of that kind. In either case in a time that grows with its length.
    """
    if _separators(raw) <= most:
        return False
    # The same without what stands in strings.
    skeleton = _without_escaped_backslashes(raw).replace(b'\\"', b"").translate(None, _NOT_COUNTED)
    return _separators(b"".join(skeleton.replace(b'""', b"").split(b'"')[::2])) > most


def too_many_values(most: int) -> Unrepresentable:
    """Return the refusal of a text with more than `most` values."""
    return Unrepresentable(f"holds more than {most} values; send fewer, or a reference to them")


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


def both_forms(text: str | bytes) -> tuple[bytes, str]:
    """Return a text as bytes and as a string. Raises `Unrepresentable` for what is no text, or empty."""
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


def _without_escaped_backslashes(raw: bytes) -> bytes:
    """Return `raw` of the same length, with only such backslashes as start an escape."""
    return raw.replace(b"\\\\", b"..") if b"\\" in raw else raw


def _check_escapes(escapes: bytes, text: str) -> None:
    if b"\\u" not in escapes:
        return
    if b"\\u0000" in escapes:
        raise _at_its_place("a NUL character (\\u0000)", "leave it out", text)
    if _SURROGATE.search(_SURROGATE_PAIR.sub(b".", escapes)):
        raise _at_its_place("half of a surrogate pair", "send the whole character", text)


def _separators(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


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
    if not number and _NOT_ZERO.match(text):
        raise _NotFiniteError("a number too near to 0 for a double", "send it as a string, or 0")
    return number


def _double_or_nan(text: str) -> float:
    """Return what marks the place of a number that no double holds."""
    try:
        return _double(text)
    except _NotFiniteError:
        return nan


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
    what: str,
    remedy: str,
    text: str,
    at: int | None = None,
    build: Callable[[list[tuple[str, JSON]]], JSON] = dict,
) -> Unrepresentable:
    """Name the place of a fault by reading `text` once more, with its faults left in, unless it is long."""
    pointer = None
    if len(text) <= _MAX_PLACED_LENGTH:
        with suppress(json.JSONDecodeError):  # a syntax error further on: then without the place
            decoder = json.JSONDecoder(
                parse_int=_integer, parse_float=_double_or_nan, object_pairs_hook=build
            )
            document = decoder.decode(text) if at is None else decoder.raw_decode(text, at)[0]
            pointer = _first_fault(document)
    where = "" if pointer is None or len(pointer) > _MAX_POINTER_LENGTH else f" at {json.dumps(pointer)}"
    return Unrepresentable(f"holds {what}{where}; {remedy}", pointer=pointer)


def _first_fault(document: JSON) -> str | None:
    """Return the JSON Pointer of the first number or string with a fault; for a key, that of its object."""
    todo: list[tuple[_Path, JSON]] = [(None, document)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value, _Repeating) or any(map(_FAULTY_CHARACTER.search, value)):
                return _pointer(path)
            todo.extend(reversed([((path, name), item) for name, item in value.items()]))
        elif isinstance(value, list):
            todo.extend(reversed([((path, index), item) for index, item in enumerate(value)]))
        elif isinstance(value, str):
            if _FAULTY_CHARACTER.search(value):
                return _pointer(path)
        elif isinstance(value, float) and not isfinite(value):
            return _pointer(path)
    return None


def _pointer(path: _Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in reversed(parts))


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
