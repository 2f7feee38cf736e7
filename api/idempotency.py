"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): requests safe to repeat."""

import re

from werkzeug.datastructures import Headers

from api.problems import Problem

HEADER = "Idempotency-Key"
_MAX_LENGTH = 255
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a string as in RFC 8941 section 3.3.3
_BARE = re.compile(r"[!#-+\--~]+")  # visible ASCII but for the quote and the comma


def idempotency_key(headers: Headers) -> str | None:
    """Return the key that the request carries, if any: quoted as the draft says, or bare as clients send it.

    Raises a 400 `Problem` for anything else.
    """
    values = headers.getlist(HEADER)
    if not values:
        return None
    value = values[0].strip()
    quoted = _QUOTED.fullmatch(value)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
    if len(values) > 1 or not (quoted or _BARE.fullmatch(value)) or not 1 <= len(key) <= _MAX_LENGTH:
        raise Problem(
            400,
            "bad-idempotency-key",
            f"Send one {HEADER} of 1 to {_MAX_LENGTH} visible ASCII characters, such as a UUID.",
        )
    return key
