"""Reading the head of an answer that a strict parser refuses, where its status is clear all the same.

The rules are those of clients that everybody uses (curl, browsers). It is safe because a connection with such
an answer is never used again: no byte of it can be taken for an answer to another request.
"""

import re
from dataclasses import dataclass

from daemon.egress import imperfections as flaws

_MAX_STATUS_LINE = 4096
_MAX_BLANK = 8  # bytes
_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP(?:/([0-9]+(?:\.[0-9]+)?))?[ \t]+([0-9]{3})(?![0-9])([^\n]*)", re.IGNORECASE)
_STRICT = re.compile(rb"HTTP/[0-9.]+ [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class NoStatus(Exception):
    """What came is no answer, or tells no status; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RepairedHead:
    """The head of a final answer as it should have come, what was wrong with it, and what came after it."""

    data: bytes
    faults: tuple[str, ...]
    rest: bytes


class HeadRepair:
    """Takes the bytes of a connection from the beginning of an answer on. Linear in what comes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0  # of the head at hand
        self._searched = 0
        self._interim = 0
        self._faults: dict[str, None] = {}  # in their order, each once

    def feed(self, data: bytes) -> RepairedHead | None:
        """Take the next bytes; return the final answer's head once it is there. Error: `NoStatus`."""
        self._data += data
        while self._begins():
            end = _END.search(self._data, max(self._start, self._searched - 2))
            if end is None:
                self._searched = len(self._data)
                return None
            head = self._read(bytes(self._data[self._start : end.end()]), bytes(self._data[end.end() :]))
            if head is not None:
                return head
            self._start = self._searched = end.end()
        return None

    def end(self) -> RepairedHead | None:
        """Take the end of the stream: return what is known if the final status line was whole."""
        if not self._begins():
            return None
        whole, line_break, _ = bytes(self._data[self._start :]).rpartition(b"\n")
        if not line_break:
            return None
        head = self._read(whole + b"\n\r\n", b"")
        return None if head is None else RepairedHead(head.data, (flaws.CUT,), b"")

    def _begins(self) -> bool:
        """Return whether there is something of a head; what can become none is `NoStatus`."""
        data, start = self._data, self._start
        while start < len(data) and data[start] in b"\r\n" and start - self._start < _MAX_BLANK:
            start += 1
        if start > self._start:
            self._note(flaws.BLANK)
            self._start = start
        if start == len(data):
            return False
        line_end = data.find(b"\n", start, start + _MAX_STATUS_LINE)
        if line_end < 0:
            if not b"HTTP".startswith(data[start : start + 4].upper()):
                raise NoStatus("it does not begin as an answer does")
            if len(data) - start >= _MAX_STATUS_LINE:
                raise NoStatus("its status line is too long")
        elif not _STATUS_LINE.match(data, start, line_end):
            raise NoStatus("it has no status")
        return True

    def _read(self, text: bytes, rest: bytes) -> RepairedHead | None:
        """Return the head; None for that of an interim answer."""
        lines = [self._without_cr(line) for line in text.split(b"\n")[:-1]][:-1]
        match = _STATUS_LINE.match(lines[0])
        status = 0 if match is None else int(match[2])
        if match is None or status == 0 or status == 101:
            raise NoStatus("unasked upgrade" if status else "it has no status")
        version: bytes | None = match[1]
        self._judge(lines[0], version, status)
        if 100 <= status < 200:
            self._interim += 1
            if self._interim > flaws.MAX_INTERIM:
                self._note(flaws.INTERIM)
            return None
        headers = self._headers(lines[1:])
        framing = self._framing(headers, version)
        fields = b"".join(b"%s: %s\r\n" % one for one in headers if one[0].lower() not in _FRAMING)
        data = b"HTTP/1.1 %03d \r\n%s%sConnection: close\r\n\r\n" % (status, fields, framing)
        return RepairedHead(data, tuple(self._faults) or (flaws.MALFORMED,), rest)

    def _without_cr(self, line: bytes) -> bytes:
        if line.endswith(b"\r"):
            return line[:-1]
        self._note(flaws.LF)
        return line

    def _judge(self, line: bytes, version: bytes | None, status: int) -> None:
        if version not in (b"1.0", b"1.1"):
            self._note(flaws.VERSION)
        elif not _STRICT.fullmatch(line):
            self._note(flaws.STATUS_LINE)
        if not 100 <= status < 600:
            self._note(flaws.OUTSIDE)

    def _headers(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for line in lines:
            if line[:1] in (b" ", b"\t"):
                self._note(flaws.FOLDED)
                if found:
                    name, value = found.pop()
                    found.append((name, value + b" " + self._value(line)))
                continue
            name, colon, value = line.partition(b":")
            if not colon:
                self._note(flaws.NO_COLON)
                continue
            if name != (name := name.rstrip(b" \t")):
                self._note(flaws.SPACE)
            if _NAME.fullmatch(name):
                found.append((name, self._value(value)))
            else:
                self._note(flaws.BAD_NAME)
        return found

    def _value(self, value: bytes) -> bytes:
        if _CONTROLS.search(value):
            self._note(flaws.BARE_CR if b"\r" in value else flaws.CONTROL)
            value = _CONTROLS.sub(b" ", value)  # as RFC 9110 section 5.5 has it
        return value.strip(b" \t")

    def _framing(self, headers: list[tuple[bytes, bytes]], version: bytes | None) -> bytes:
        """Return the one header that tells where the body ends; none: with the connection."""
        lengths = _listed(headers, b"content-length")
        codings = _listed(headers, b"transfer-encoding")
        if codings and codings[-1].lower() == b"chunked":
            if lengths:
                self._note(flaws.BOTH)
            if version == b"1.0":
                self._note(flaws.OLD_CHUNKED)
            return b"Transfer-Encoding: chunked\r\n"  # RFC 9112 section 6.3
        if codings:
            self._note(flaws.NOT_CHUNKED)
            if codings != [b"identity"]:
                return b""
        if not lengths:
            return b""
        if not all(_LENGTH.fullmatch(one) for one in lengths):
            self._note(flaws.UNREADABLE)
            return b""
        told = {int(one) for one in lengths}
        if len(lengths) > 1:
            self._note(flaws.TWICE if len(told) == 1 else flaws.DIFFERENT)
        return b"Content-Length: %d\r\n" % min(told)

    def _note(self, fault: str) -> None:
        self._faults[fault] = None


_FRAMING = (b"content-length", b"transfer-encoding", b"connection")


def _listed(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    values = [value for one, value in headers if one.lower() == name]
    return [part.strip(b" \t") for value in values for part in value.split(b",")]
