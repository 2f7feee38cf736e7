"""Entity tags: what a client has seen, so that no two overwrite one another (RFC 9110 section 13)."""

import re
from collections.abc import Sequence

from api.problems import Problem
from api.quart_app import current_request

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_LISTED = re.compile(rf"[ \t]*(?:{_TAG.pattern}[ \t]*)?(?:,[ \t]*(?:{_TAG.pattern}[ \t]*)?)*")
_REVISION = re.compile(r'"([0-9]{1,9})(?:\.[0-9]{1,10})?"')


def revision_tag(revision: int, failures: int) -> str:
    """Return the entity tag of a subscription: what clients change, and what happens to it meanwhile."""
    return f'"{revision}.{failures}"'


def matches(condition: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match condition names `etag` (weak comparison)."""
    if condition is None:
        return False
    return condition.strip() == "*" or etag in [tag.removeprefix("W/") for tag in _TAG.findall(condition)]


def expected_revisions(conditions: Sequence[str]) -> frozenset[int] | None:
    """Return the revisions of which If-Match, with its values as they came, asks for one; None: any.

    How often a receiver failed is no change that another one could undo, so only the revisions count. A tag
    that this API never gave out, such as a weak one, names none. Raises a 400 `Problem` for what is neither
    `*` nor entity tags.
    """
    condition = ",".join(conditions)
    if not conditions or condition.strip() == "*":
        return None
    tags = _TAG.findall(condition)
    if not tags or not _LISTED.fullmatch(condition):
        raise Problem(
            400, "bad-if-match", "Give If-Match the ETag of the subscription as you read it, quotes included."
        )
    return frozenset(int(match[1]) for match in map(_REVISION.fullmatch, tags) if match is not None)


def requested_revisions() -> frozenset[int] | None:
    """Return the revisions of which the current request asks for one; None: any."""
    return expected_revisions(current_request().headers.getlist("If-Match"))


def changed_meanwhile() -> Problem:
    """Return the answer where none of those revisions is the subscription's."""
    tags = _TAG.findall(",".join(current_request().headers.getlist("If-Match")))
    if tags and all(tag.startswith("W/") for tag in tags):
        return Problem(
            412,
            "weak-etag",
            'A weak tag, W/"…", never fits If-Match (RFC 9110 section 13.1.1), and hookd gives none: a proxy'
            " on the way makes them, such as one that compresses. Send the tag without its W/.",
        )
    return Problem(
        412,
        "changed-meanwhile",
        "Somebody changed the subscription since you read it; read it again and send your change with the "
        "new ETag in If-Match.",
    )
