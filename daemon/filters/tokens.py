"""The words and signs of a filter's text, each with its place."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from daemon.filters.tree import FilterRefused

Kind = Literal["string", "number", "name", "sign", "end"]

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\n\r\f]+)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>&&|\|\||[=!<>]=|<>|\*\*|[$@.\[\]()?!<>*,/+%-])""",
    re.VERBOSE | re.DOTALL,
)
_ADVICE = {
    '"': 'a text begins here and does not end; end it with "',
    "'": 'write texts in double quotes, as "DE"',
    "=": "compare with ==",
    "&": "join conditions with &&",
    "|": "join conditions with ||",
}
_QUOTED = {
    "abs",
    "ceiling",
    "datetime",
    "double",
    "exists",
    "floor",
    "is",
    "keyvalue",
    "lax",
    "like_regex",
    "to",
}
_KINDS = {"string": "a text", "number": "a number", "name": "a name", "sign": "a character"}


@dataclass(frozen=True, slots=True)
class Token:
    """`text` as it stands at `place`, counted from 0; empty at the end."""

    kind: Kind
    text: str
    place: int

    def is_word(self, word: str) -> bool:
        """Return whether it is the word, in whatever case."""
        return self.kind == "name" and self.text.lower() == word

    def refuse(self, reason: str) -> NoReturn:
        """Refuse the filter for what stands here."""
        if self.kind == "end":
            raise FilterRefused(f"at its end (character {self.place + 1}): {reason}")
        # Of what a client sent, an answer repeats signs and words of the language, and nothing else.
        sign = self.kind == "sign" and self.text.isascii() and self.text.isprintable()
        shown = f"`{self.text}`" if sign or self.text in _QUOTED else _KINDS[self.kind]
        raise FilterRefused(f"at character {self.place + 1} ({shown}): {reason}")

    def string(self) -> str:
        """Return what a string stands for."""
        return unquoted(self)


def tokens(text: str) -> Iterator[Token]:
    """Give the tokens of a text, at last that of its end. Error: `FilterRefused`."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            _unknown(text, place)
        if found.lastgroup != "blank":
            yield Token(found.lastgroup, found[0], place)  # type: ignore[arg-type]  # a group of the pattern
        place = found.end()
    yield Token("end", "", place)


def unquoted(token: Token) -> str:
    """Return what a string stands for: written as in JSON, without what Postgres cannot hold."""
    try:
        text: str = json.loads(token.text, strict=False)
    except ValueError:
        token.refuse(
            'write \\ only as JSON has it: \\", \\\\, \\/, \\b, \\f, \\n, \\r, \\t, \\u and four digits'
        )
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        token.refuse("no event holds a NUL character or half of a surrogate pair; leave it out")
    return text


def _unknown(text: str, place: int) -> NoReturn:
    here = text[place]
    advice = _ADVICE.get(here)
    if advice is None and (here.isdigit() or here == "-"):
        advice = "write numbers as JSON does, as 12, -0.5 or 1e3"
    if advice is None:
        advice = 'this means nothing in a filter; in a member\'s name, quote it, as $."first-name"'
    Token("sign", here, place).refuse(advice)
