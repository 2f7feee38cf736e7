"""A response as it is handed on."""

from contextlib import suppress
from dataclasses import dataclass

import httptools

from daemon.egress.errors import Phases


@dataclass(slots=True)
class Answer:
    """A response: its head as received, and the first bytes of its body (`truncated`: there were more).

    `head` may begin with interim responses and end with a part of the body; where it was not well formed, it
    is as it should have been. `note` says what was imperfect, "" if nothing was; `late` that the deadline
    came before the body's end.
    """

    status: int
    head: bytes
    excerpt: bytes
    truncated: bool
    phases: Phases
    note: str = ""
    late: bool = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as received, parsed now: hardly any answer's are ever asked for."""
        return headers_of(self.head)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, its name in lower case, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class _Headers:
    """The headers of the final response in bytes that a `ResponseReader` has found good."""

    def __init__(self, head: bytes) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)
        # What comes after the head was not judged by its reader if it stopped early.
        with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser.feed_data(head)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header (called by the parser); trailers are left out."""
        if not self._complete:
            self.found.append((name, value))

    def on_headers_complete(self) -> None:
        """Forget the headers of an interim response (called by the parser)."""
        if self._parser.get_status_code() >= 200:
            self._complete = True
        elif not self._complete:
            self.found.clear()


def headers_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of the final response in what a `ResponseReader` has as its `head`."""
    return _Headers(head).found
