"""Which filters a subscription may have: SQL/JSON path predicates (ISO/IEC 9075-2) of bounded cost. Pure.

Postgres evaluates a filter for each event, so its cost must grow with the event's size and not with a power
of it. In strict mode that takes three rules: no regular expression, no descent to all levels, and never two
sets of values set against each other.
"""

import re

LONGEST = 1000
MOST_CONDITIONS = 10

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_WILDCARD = re.compile(r"\[[^\]]*(?:\*|to)[^\]]*\]|\.\*")
_SUBSCRIPT = re.compile(r"\[[^\]]*\]")
_METHOD = re.compile(r"\.(\w+)\(")
_METHODS = frozenset({"size", "type", "abs", "floor", "ceiling", "double"})
_CONDITION = re.compile(r"&&|\|\|")


def refusal(normal: str) -> str | None:
    """Say why a filter, as Postgres writes it, is not allowed and what to do; None if it is."""
    bare = _STRING.sub('""', normal)
    if "$" not in bare:
        return "looks at nothing of the event; begin a path with $"
    if "like_regex" in bare:
        return "uses like_regex, which may take for ever; use == or starts with"
    if ".**" in bare:
        return "uses .**, which visits every level; name the path"
    if '$""' in bare:
        return "uses a variable, of which there are none; write the value"
    if unknown := [name for name in _METHOD.findall(bare) if name not in _METHODS]:
        return f"uses .{unknown[0]}(), which is not offered; there are {', '.join(sorted(_METHODS))}"
    if any("," in subscript for subscript in _SUBSCRIPT.findall(bare)):
        return "lists several subscripts, which multiply at each level; use one"
    inner = _inner_filters(bare)
    if any("?" in one or "$" in one for one in inner):
        return "has a condition in ?(…) that looks at $ or holds another ?(…); use @ there, and one level"
    if len(_CONDITION.findall(bare)) >= MOST_CONDITIONS:
        return f"has more than {MOST_CONDITIONS} conditions; use fewer"
    for one in inner:  # what is joined in there is still one condition out here
        bare = bare.replace(one, _CONDITION.sub(" ", one))
    if any(len(_WILDCARD.findall(one)) > 1 for one in _CONDITION.split(bare)):
        return "has two wildcards in one condition, which pairs up all their values; use one"
    return None


def _inner_filters(bare: str) -> list[str]:
    """Return what stands in the parentheses after each `?`."""
    found = []
    for start in (match.end() for match in re.finditer(r"\?\s*\(", bare)):
        depth, end = 1, start
        while depth and end < len(bare):
            depth += {"(": 1, ")": -1}.get(bare[end], 0)
            end += 1
        found.append(bare[start : end - 1])
    return found
