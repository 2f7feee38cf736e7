"""What `hookd dev` shows: one aligned line for each thing that happens, and colour where it is wanted."""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from io import TextIOWrapper
from typing import TextIO

_VERB_WIDTH = 10
_TYPE_WIDTH = 19
_ID_WIDTH = 7
_PATH_WIDTH = 6
_TAIL = 6
"""Digits of an id that are shown: the last ones, as those of a UUIDv7 that tell two events apart."""


class Style(StrEnum):
    """Ways to show a text (ECMA-48 section 8.3.117, Select Graphic Rendition)."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"
    GREEN_BOLD = "1;32"
    RED_BOLD = "1;31"


class Verb(StrEnum):
    """What may happen."""

    READY = "ready"
    REGISTERED = "registered"
    PUBLISHED = "published"
    DELIVERED = "delivered"
    FAILED = "failed"
    RECOVERED = "recovered"
    AGAIN = "again"
    REFUSED = "refused"
    STOPPING = "stopping"


_STYLES = {
    Verb.READY: Style.BOLD,
    Verb.REGISTERED: Style.BOLD,
    Verb.PUBLISHED: Style.CYAN,
    Verb.DELIVERED: Style.GREEN,
    Verb.FAILED: Style.YELLOW,
    Verb.RECOVERED: Style.GREEN_BOLD,
    Verb.AGAIN: Style.YELLOW,
    Verb.REFUSED: Style.RED_BOLD,
    Verb.STOPPING: Style.BOLD,
}


class Screen:
    """Lines for a person, written out at once."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour

    def text(self, line: str = "", style: Style = Style.PLAIN) -> None:
        """Show a line as it is."""
        print(self.styled(line, style), file=self._out, flush=True)

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and what they stand for, aligned."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.text(f"  {self.styled(f'{name:<{width}}', Style.DIM)}  {value}")

    def happened(
        self,
        verb: Verb,
        event_type: str = "",
        event_id: str = "",
        path: str = "",
        detail: str = "",
        *,
        now: datetime | None = None,
    ) -> None:
        """Show one thing that happened, by default now."""
        moment = (now or datetime.now().astimezone()).strftime("%H:%M:%S.%f")[:-3]
        columns = (
            self.styled(moment, Style.DIM),
            f"  {self.styled(f'{verb:<{_VERB_WIDTH}}', _STYLES[verb])}",
            f" {event_type:<{_TYPE_WIDTH}}",
            f"  {self.styled(f'{short(event_id):<{_ID_WIDTH}}', Style.DIM)}",
            f"  {path:<{_PATH_WIDTH}}",
            f"  {detail}",
        )
        # Without colour no blanks are left at the end of a line.
        self.text("".join(columns).rstrip())

    def styled(self, text: str, style: Style) -> str:
        """Return `text` in this style, if there is colour."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style else text


def short(event_id: str) -> str:
    """Return the end of an id, enough to tell events apart."""
    return f"…{event_id[-_TAIL:]}" if event_id else ""


def elapsed(seconds: float) -> str:
    """Return a span of time as people say it: 8 ms, 1.42 s."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def wants_colour(choice: str, out: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether `--color` (always, never, auto) means colour here.

    With auto: on a terminal that can show it, unless NO_COLOR is set (no-color.org: to anything but "").
    """
    if choice != "auto":
        return choice == "always"
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def standard_screen(choice: str) -> Screen:
    """Return the screen on standard output."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names from all over the world, on whatever terminal
    return Screen(sys.stdout, colour=wants_colour(choice, sys.stdout))
