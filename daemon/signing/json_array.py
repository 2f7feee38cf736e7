"""A JSON array read some elements at a time, so that a long one holds nobody up. Pure."""

import re
from codecs import utf_8_decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, cast

from daemon.signing.canonical import (
    JSON,
    NotJson,
    Unrepresentable,
    both_forms,
    check_text,
    holds_more_values,
    read_value,
    too_many_values,
)

WINDOW = 64 * 1024
"""Bytes of text that are looked at for a step, unless an element is longer."""
MAX_AT_ONCE = 250
"""Elements of one step."""
_BLANKS = re.compile(r"[ \t\n\r]*+")
_BLANK_BYTES = b" \t\n\r"
_UNTERMINATED = "Unterminated"
_MAX_TOKEN_LENGTH = 12
"""Characters before the end of a window in which its end may be the fault: a literal, an escaped pair."""


@dataclass(frozen=True, slots=True)
class ElementLimits:
    """What each element may be: of so many bytes of text, with so many values, nested so deep."""

    max_bytes: int
    max_values: int
    max_depth: int


class BadElement(Exception):
    """An element that cannot be taken: its index, and why."""

    def __init__(self, index: int, fault: Unrepresentable) -> None:
        super().__init__(f"element {index}: {fault}")
        self.index = index
        self.fault = fault


def is_array(raw: bytes | bytearray) -> bool:
    """Tell whether a JSON text is an array, if it is JSON."""
    return raw.lstrip(_BLANK_BYTES)[:1] == b"["


def elements(raw: bytes, limits: ElementLimits) -> Iterator[list[JSON]]:
    """Yield the elements of an array, as many as one step gives, as `parse` reads them with `unique_keys`.

    A step takes a time that `limits` bound, and so does one that finds a fault; of a long element, the first
    ones give nothing. Errors: `BadElement`, and
    `Unrepresentable` with a line and a column for what is not JSON.
    """
    begin, index, size, ended = raw.index(b"[") + 1, 0, WINDOW, False
    while not ended:
        window = _Window(raw, begin, begin + size)
        found, end, ended = _read(window, index, limits)
        if window.is_suspect(limits):
            yield []
            _check(window, found, index, limits)
        yield [element.value for element in found]
        if found or ended:
            index, begin, size = index + len(found), window.place(end), WINDOW
        else:
            if size > limits.max_bytes:
                raise BadElement(index, _too_long(limits))
            if holds_more_values(raw[begin : begin + size], limits.max_values):
                raise BadElement(index, too_many_values(limits.max_values))
            size = min(_next_size(raw, begin, size, limits.max_values), limits.max_bytes + WINDOW)
    rest = raw[begin:].lstrip(_BLANK_BYTES)
    if rest:
        _not_json("Extra data", raw, len(raw) - len(rest))


class _Element(NamedTuple):
    """A value, and where its text is in the window."""

    value: JSON
    begin: int
    end: int


class _Window:
    """A part of a text: as many of its characters as end before `end`.

    `last`: nothing comes after it. `suspect`: its elements may have escapes for what is no text, or be nested
    too deep.
    """

    def __init__(self, raw: bytes, begin: int, end: int) -> None:
        self._whole = raw
        self._begin = begin
        self.last = end >= len(raw)
        self.raw = raw[begin:end]
        self.suspect = b"\\u" in self.raw
        try:
            self.text, _ = utf_8_decode(self.raw, "strict", self.last)
        except UnicodeDecodeError:
            both_forms(raw)  # raises with the place of it
            raise

    def is_suspect(self, limits: ElementLimits) -> bool:
        """Tell whether elements of it may be beyond the limits; where the whole window is not, none is."""
        return (
            self.suspect or len(self.raw) > limits.max_bytes or holds_more_values(self.raw, limits.max_values)
        )

    def place(self, position: int) -> int:
        """Return where in the whole text a character of this one is."""
        return self._begin + len(self.text[:position].encode())

    def refuse(self, message: str, position: int) -> None:
        """Raise for what is not JSON, unless it may be where the window ends."""
        near = position > len(self.text) - _MAX_TOKEN_LENGTH
        if self.last or not (near or message.startswith(_UNTERMINATED)):
            _not_json(message, self._whole, self.place(position))


def _read(window: _Window, index: int, limits: ElementLimits) -> tuple[list[_Element], int, bool]:
    """Return the elements that are whole in the window, where the next one begins, and if there is none."""
    found: list[_Element] = []
    text, begin = window.text, 0
    while len(found) < MAX_AT_ONCE:
        start = _after_blanks(text, begin)
        if index + len(found) == 0 and text.startswith("]", start):
            return found, start + 1, True
        try:
            value, end = read_value(text, start, max_depth=limits.max_depth, unique_keys=True)
        except NotJson as fault:
            window.refuse(fault.message, fault.position)
            break
        except Unrepresentable as fault:
            raise BadElement(index + len(found), fault) from None
        following = _after_blanks(text, end)
        if following == len(text) and not window.last:
            break
        if not text.startswith((",", "]"), following):
            window.refuse("Expecting ',' delimiter", following)
            break
        if text.count("[", start, end) + text.count("{", start, end) > limits.max_depth:
            window.suspect = True
        found.append(_Element(value, start, end))
        begin = following + 1
        if text[following] == "]":
            return found, begin, True
    return found, begin, False


def _check(window: _Window, found: Sequence[_Element], index: int, limits: ElementLimits) -> None:
    for place, element in enumerate(found, index):
        text = window.text[element.begin : element.end]
        raw = text.encode()
        try:
            if len(raw) > limits.max_bytes:
                raise _too_long(limits)
            if holds_more_values(raw, limits.max_values):
                raise too_many_values(limits.max_values)
            check_text(text, limits.max_depth)
        except Unrepresentable as fault:
            raise BadElement(place, fault) from None


def _next_size(raw: bytes, begin: int, size: int, most: int) -> int:
    """Return a longer size, of twice as many bytes or, where these have too many values, of hardly more."""
    low, high = size, 2 * size
    while holds_more_values(raw[begin : begin + high], most + most // 4):
        middle = (low + high) // 2
        if holds_more_values(raw[begin : begin + middle], most):
            high = middle
        else:
            low = middle
    return high


def _too_long(limits: ElementLimits) -> Unrepresentable:
    return Unrepresentable(f"is longer than {limits.max_bytes} bytes; send a reference to what is so large")


def _after_blanks(text: str, begin: int) -> int:
    return cast("re.Match[str]", _BLANKS.match(text, begin)).end()


def _not_json(message: str, raw: bytes, place: int) -> NoReturn:
    before = raw[:place]
    line_start = before.rfind(b"\n") + 1
    column = len(before[line_start:].decode(errors="replace")) + 1
    raise NotJson(message, place, before.count(b"\n") + 1, column)
