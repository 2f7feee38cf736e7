"""The request headers that a subscription may add to its deliveries. Pure."""

import re
from collections.abc import Mapping

MAX_HEADERS = 20
MAX_NAME_LENGTH = 64
MAX_VALUE_LENGTH = 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")  # section 5.5, in ASCII

# What the daemon writes itself, what frames the message or steers the connection, what tells of the client.
_RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-real-ip",
    }
)
_RESERVED_PREFIXES = ("webhook-", "proxy-", "sec-", "x-forwarded-", "content-")


def refusals(headers: Mapping[str, str], own_prefix: str) -> dict[str, str]:
    """Return, by the names of those that cannot be sent, why and what to do.

    `own_prefix` begins the platform's own headers (`signing.header_prefix`).
    """
    found = {}
    seen: set[str] = set()
    for name, value in headers.items():
        advice = _name_refusal(name, own_prefix) or _value_refusal(value)
        if advice is None and name.lower() in seen:
            advice = "is there twice in other letters; send it once"
        seen.add(name.lower())
        if advice is not None:
            found[name] = advice
    return found


def _name_refusal(name: str, own_prefix: str) -> str | None:
    if not _TOKEN.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        return f"is not a header's name: use 1 to {MAX_NAME_LENGTH} letters, digits and -"
    lower = name.lower()
    if lower in _RESERVED or lower.startswith((*_RESERVED_PREFIXES, own_prefix.lower())):
        return "is written by hookd or by the connection; choose another name"
    return None


def _value_refusal(value: str) -> str | None:
    if value and not value.strip("*"):
        return "is what answers show instead: give the value itself, or leave headers out to keep it"
    if len(value) <= MAX_VALUE_LENGTH and _VALUE.fullmatch(value):
        return None
    return f"must be 1 to {MAX_VALUE_LENGTH} printable ASCII characters, not beginning or ending with a space"
