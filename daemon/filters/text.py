"""Filters as text: the allowed part of SQL/JSON path predicates, such as `$.country == "DE"`."""

from decimal import Decimal, InvalidOperation
from typing import NoReturn

from daemon.filters.tokens import Token, tokens, unquoted
from daemon.filters.tree import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_EXPONENT,
    MAX_INDEX,
    MAX_LENGTH,
    MAX_STEPS,
    And,
    Comparator,
    Comparison,
    Condition,
    Element,
    EveryElement,
    Exists,
    FilterRefused,
    Member,
    Method,
    Not,
    Or,
    Path,
    StartsWith,
    Step,
    Value,
    Where,
    check_amount,
)

_COMPARATORS: dict[str, Comparator] = {
    "==": "==",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_MIRRORED: dict[Comparator, Comparator] = {
    "==": "==",
    "!=": "!=",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}
_METHODS: dict[str, Method] = {"size": "size", "type": "type"}
_ARITHMETIC = frozenset("+-*/%")


def parse(text: str) -> Condition:
    """Return the tree of a filter's text. Error: `FilterRefused`, with the place in the text."""
    if len(text) > MAX_LENGTH:
        raise FilterRefused(f"has {len(text)} characters; use at most {MAX_LENGTH}")
    condition = _Parser(text).whole()
    check_amount(condition)
    return condition


def number(text: str) -> Decimal | None:
    """Return the value of a JSON number; None for one that is longer or larger than a filter may have."""
    if len(text) > MAX_DIGITS:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return None
    if not value:
        return Decimal(0)
    return value if abs(value.adjusted()) <= MAX_EXPONENT else None


class _Parser:
    """Reads token by token. `root` is where paths begin, `$` or `@`; `wide`: below a `[*]` already."""

    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        self._at = 0

    def whole(self) -> Condition:
        if self._next.is_word("lax"):
            self._next.refuse("filters are in strict mode; leave it out")
        if self._next.is_word("strict"):
            self._take()
        condition = self._either("$", False, 0)
        if self._next.kind != "end":
            self._refuse_rest()
        return condition

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _skip(self, sign: str) -> bool:
        """Take the sign if it stands here."""
        found = self._next.kind == "sign" and self._next.text == sign
        if found:
            self._at += 1
        return found

    def _expect(self, sign: str, reason: str) -> None:
        if not self._skip(sign):
            self._next.refuse(reason)

    def _either(self, root: str, wide: bool, depth: int) -> Condition:
        several = [self._both(root, wide, depth)]
        while self._skip("||"):
            several.append(self._both(root, wide, depth))
        return several[0] if len(several) == 1 else Or(tuple(several))

    def _both(self, root: str, wide: bool, depth: int) -> Condition:
        several = [self._one(root, wide, depth)]
        while self._skip("&&"):
            several.append(self._one(root, wide, depth))
        return several[0] if len(several) == 1 else And(tuple(several))

    def _one(self, root: str, wide: bool, depth: int) -> Condition:
        token = self._next
        if self._skip("!"):
            if self._next.is_word("exists"):
                return Not(self._exists(root, wide, depth))
            return Not(self._grouped("!", "as !($.a == 1)", root, wide, depth))
        if token.is_word("exists"):
            return self._exists(root, wide, depth)
        if token.text == "(":
            return self._grouped("", "", root, wide, depth)
        return self._test(root, wide, depth)

    def _grouped(self, sign: str, example: str, root: str, wide: bool, depth: int) -> Condition:
        """Read a condition in parentheses, which stands behind a sign or by itself."""
        opening = self._next
        self._expect("(", f"put the condition behind {sign} in parentheses, {example}")
        if depth >= MAX_DEPTH:
            opening.refuse(f"more than {MAX_DEPTH} conditions lie inside each other; use fewer parentheses")
        condition = self._either(root, wide, depth + 1)
        if not self._skip(")"):
            self._unclosed(opening)
            self._refuse_rest()
        return condition

    def _exists(self, root: str, wide: bool, depth: int) -> Exists:
        self._take()
        opening = self._next
        self._expect("(", "put the path in parentheses, as exists($.a)")
        path = self._path(root, wide, depth)
        if not self._skip(")"):
            self._unclosed(opening)
            self._next.refuse(
                'exists(…) holds a path; put a condition in ?(…), as exists($.tags[*] ? (@ == "x"))'
            )
        return Exists(path)

    def _unclosed(self, opening: Token) -> None:
        if self._next.kind == "end":
            self._next.refuse(f"the parenthesis of character {opening.place + 1} is not closed; add )")

    def _test(self, root: str, wide: bool, depth: int) -> Condition:
        if self._next.text not in ("$", "@"):
            value = self._value(root)
            comparator = self._comparator()
            if self._next.text not in ("$", "@"):
                self._next.refuse(f"a path must stand on one side, as {root}.country")
            return Comparison(self._path(root, wide, depth), _MIRRORED[comparator], value)
        start = self._next
        path = self._path(root, wide, depth)
        if self._next.is_word("starts"):
            self._take()
            if self._next.is_word("with"):
                self._take()
                if self._next.kind == "string":
                    return StartsWith(path, unquoted(self._take()))
            self._next.refuse('write starts with and a text, as $.a starts with "x"')
        if self._next.kind == "end" or self._next.text in (")", "&&", "||"):
            start.refuse(f"this path is compared with nothing; write {root}.… == true, or exists({root}.…)")
        comparator = self._comparator()
        if self._next.text in ("$", "@"):
            self._next.refuse("two paths are not compared with each other; write a value on one side")
        return Comparison(path, comparator, self._value(root))

    def _comparator(self) -> Comparator:
        found = _COMPARATORS.get(self._next.text)
        if found is None:
            self._refuse_rest()
        self._take()
        return found

    def _value(self, root: str) -> Value:
        token = self._take()
        if token.kind == "string":
            return unquoted(token)
        if token.kind == "name" and token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        if token.kind == "number":
            value = number(token.text)
            if value is None:
                token.refuse(f"use a number of up to {MAX_DIGITS} characters that a double can hold")
            return value
        if token.kind == "sign" and token.text in _ARITHMETIC:
            token.refuse("there is no arithmetic; write the value itself")
        return token.refuse(f'a path or a value must stand here, as {root}.country, "DE", 0.5, true or null')

    def _path(self, root: str, wide: bool, depth: int) -> Path:
        start = self._take()
        if start.text != root:
            start.refuse("paths begin with @ inside ?(…)" if root == "@" else "paths begin with $")
        if self._next.kind in ("name", "string") and self._next.place == start.place + 1:
            self._next.refuse("there are no variables; write a . before a member, or the value itself")
        steps: list[Step] = []
        while True:
            token = self._next
            if token.text in (".", "[", "?") and len(steps) == MAX_STEPS:
                token.refuse(f"use a path of at most {MAX_STEPS} steps")
            if self._skip("."):
                name = self._take()
                if self._next.text == "(" and name.kind == "name":
                    return Path(tuple(steps), self._method(name))
                steps.append(self._member(name))
            elif self._skip("["):
                steps.append(self._subscript(wide))
                wide = wide or isinstance(steps[-1], EveryElement)
            elif self._skip("?"):
                if root == "@":
                    token.refuse("a ?(…) cannot hold another one; join conditions with &&")
                steps.append(Where(self._grouped("?", "as ?(@.a == 1)", "@", wide, depth)))
            else:
                return Path(tuple(steps))

    def _member(self, token: Token) -> Member:
        if token.kind == "string":
            return Member(unquoted(token))
        if token.kind == "name":
            return Member(token.text)
        if token.text in ("*", "**"):
            token.refuse("a path names each member; write its name")
        return token.refuse('a member\'s name must stand here, as $.country or $."first-name"')

    def _method(self, name: Token) -> Method:
        method = _METHODS.get(name.text)
        if method is None:
            name.refuse("there are no functions but .size() and .type(); leave it out")
        self._take()
        self._expect(")", f"write .{method}() with nothing in its parentheses")
        if self._next.text in (".", "[", "?"):
            self._next.refuse(f"nothing follows .{method}(); compare it, as .{method}() == …")
        return method

    def _subscript(self, wide: bool) -> Element | EveryElement:
        token = self._take()
        step: Element | EveryElement
        if token.text == "*":
            if wide:
                token.refuse("one [*] is the most in a condition; name an element, or join two conditions")
            step = EveryElement()
        elif token.is_word("last"):
            step = Element(None)
        elif token.kind == "number" and token.text.isascii() and token.text.isdecimal():
            if len(token.text) > len(str(MAX_INDEX)):
                token.refuse(f"use an index of at most {MAX_INDEX}")
            step = Element(int(token.text))
        else:
            token.refuse("use one index from 0, last or *")
        self._expect("]", "use one index from 0, last or *, and close it with ]")
        return step

    def _refuse_rest(self) -> NoReturn:
        """Refuse what stands where a comparison, `&&`, `||` or the end should."""
        token = self._next
        word = token.text.lower()
        if word == "like_regex":
            token.refuse("there are no regular expressions, which may take for ever; use == or starts with")
        if word == "is":
            token.refuse("there is no `is unknown`; ask with exists(…)")
        if token.text in _ARITHMETIC or token.kind == "number":
            token.refuse("there is no arithmetic; compare with a value, as $.a > 5")
        if token.text == "**":
            token.refuse("a path names each member; write its name")
        token.refuse("a comparison (== != < <= > >= starts with), && or || must stand here, or the end")
