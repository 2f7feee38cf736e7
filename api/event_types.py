"""Names of event types, and the patterns that subscriptions may use for them."""

from collections.abc import Sequence
from difflib import get_close_matches

ANY = "*"
_WHOLE_GROUP = ".*"


def refusal(name: str, known: Sequence[str]) -> str | None:
    """Say why no event can be of the type `name`, with the nearest known type; None if one can."""
    return None if name in known else "is not a known event type; " + _nearest(name, known)


def pattern_refusal(pattern: str, known: Sequence[str]) -> str | None:
    """Say why a subscription cannot want `pattern`: neither a known type nor one that covers any; else None.

    `*` covers every type and `placement.*` those that begin with `placement.`.
    """
    if pattern == ANY:
        return None
    if pattern.endswith(_WHOLE_GROUP):
        group = pattern.removesuffix(ANY)
        if any(name.startswith(group) for name in known):
            return None
        groups = sorted({name.rpartition(".")[0] + _WHOLE_GROUP for name in known if "." in name})
        return "covers no known event type; " + _nearest(pattern, groups or known)
    return refusal(pattern, known)


def is_pattern(text: str) -> bool:
    """Tell whether a filter of what was may have `text`: the name of a type, `placement.*`, or `*`."""
    return text == ANY or ANY not in text.removesuffix(_WHOLE_GROUP)


def patterns(known: Sequence[str]) -> list[str]:
    """Return all that a subscription may want: `*`, the known types, and each group of them."""
    groups = {name[: place + 1] + ANY for name in known for place, sign in enumerate(name) if sign == "."}
    return [ANY, *known, *sorted(groups)]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name[:100], known, n=1)
    hint = f'perhaps "{near[0]}" is meant, and ' if near else ""
    return hint + "GET /webhooks/events lists them all"
