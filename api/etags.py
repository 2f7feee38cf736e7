"""Entity tags: what a client has seen, so that no two overwrite one another (RFC 9110 section 13)."""

import re

from api.problems import Problem

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_REVISION = re.compile(r'"(\d{1,9})"')


def matches(condition: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match condition names `etag` (weak comparison)."""
    if condition is None:
        return False
    return condition.strip() == "*" or etag in [tag.removeprefix("W/") for tag in _TAG.findall(condition)]


def expected_revision(condition: str | None) -> int | None:
    """Return the revision that an If-Match condition asks for; None: any.

    Raises a 400 `Problem` for what is not one entity tag or `*`. A tag that this API never gave out, such as
    a weak one, matches nothing: -1.
    """
    if condition is None or condition.strip() == "*":
        return None
    if not _TAG.fullmatch(condition.strip()):
        raise Problem(
            400, "bad-if-match", "Give If-Match the ETag of the subscription as you read it, quotes included."
        )
    match = _REVISION.fullmatch(condition.strip())
    return -1 if match is None else int(match[1])
