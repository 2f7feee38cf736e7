"""What the history keeps of an answer: the beginning of its body, and the headers that tell something. Pure.

A good answer tells little more than that it is one. Of it only what names the request at the receiver's, and
a coding without which its body cannot be read, are kept; of any other what helps its owner to find out why.
What may be secret is masked, whoever sent it: everybody who may read the history may see it.
"""

import re
from urllib.parse import urlsplit

from daemon.egress.answer import Answer

MAX_HEADERS, MAX_VALUE_LENGTH, MAX_CHARACTERS = 24, 256, 1024
"""Bounds: headers, characters of one value, and of all names and values."""
MASK = "***"
_MAX_URL_LENGTH = 2048

_IDS = r"(?:[a-z0-9-]*(?:request|correlation|trace)-?id|traceparent|cf-ray|x-vercel-id)"
_HEADERS_OF_SUCCESS = re.compile(rf"{_IDS}|content-encoding")
_HEADERS_OF_FAILURE = re.compile(
    rf"{_IDS}|content-(?:type|encoding)|date|server|via|location|retry-after[a-z-]*"
    r"|(?:www|proxy)-authenticate|allow|accept|accept-post|deprecation|sunset|cf-mitigated|x-cache|x-served-by"
    r"|x-powered-by|(?:x-)?rate-?limit[a-z0-9-]*|set-cookie2?|(?:proxy-)?authorization|(?:proxy-)?authentication-info"
)
_SECRET = re.compile(r"set-cookie2?|(?:proxy-)?authorization|(?:proxy-)?authentication-info")
_CREDENTIALS = re.compile(
    r"\b(?:bearer|basic|digest|token)[ \t]+[^ \t,;]+|\beyJ[\w-]{5,}(?:\.[\w-]*)*|\bwhsec_\S+", re.IGNORECASE
)


def headers_worth_keeping(answer: Answer, *, failed: bool) -> dict[str, str] | None:
    """Return the headers to keep, names in lower case, values of one name joined; None if there are none."""
    wanted = _HEADERS_OF_FAILURE
    if not failed:
        wanted, head = _HEADERS_OF_SUCCESS, answer.head.lower()
        # Looked for first, as hardly any good answer has one of them.
        if not (b"id:" in head or b"encoding:" in head or b"traceparent:" in head or b"cf-ray:" in head):
            return None
    kept: dict[str, str] = {}
    for raw_name, raw_value in answer.headers:
        name = raw_name.decode("latin-1").lower()
        if not wanted.fullmatch(name) or (name not in kept and len(kept) == MAX_HEADERS):
            continue
        value = _shown(name, raw_value.decode("latin-1"))
        kept[name] = (
            value if name not in kept or value == MASK else f"{kept[name]}, {value}"[:MAX_VALUE_LENGTH]
        )
    room = MAX_CHARACTERS
    for name, value in list(kept.items()):
        room -= len(name) + len(value)
        if room < 0:
            del kept[name]
    return kept or None


def as_lines(headers: dict[str, str]) -> str:
    """Return the headers as the history stores them."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def excerpt_of(answer: Answer, headers: dict[str, str] | None) -> str:
    """Return the excerpt as text; of a body in a coding that is no text, which coding it is.

    `headers` are those that `headers_worth_keeping` gave.
    """
    body = answer.excerpt
    coding = (headers or {}).get("content-encoding", "")
    if body and coding.lower() not in ("", "identity") and not _is_text(body):
        return f"(in {coding}, not shown)"
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")


def _is_text(body: bytes) -> bool:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        # An excerpt may end within a character.
        if error.reason != "unexpected end of data":
            return False
        text = body[: error.start].decode()
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def _shown(name: str, value: str) -> str:
    if _SECRET.fullmatch(name):
        return MASK
    if name == "location":
        value = _without_secrets(value[:_MAX_URL_LENGTH])
    elif name.endswith("-authenticate"):
        scheme, _, parameters = value.partition(" ")
        value = f"{scheme} {MASK}" if parameters else scheme
    else:
        value = _CREDENTIALS.sub(MASK, value[:MAX_VALUE_LENGTH])
    return "".join(one if one.isprintable() else " " for one in value[:MAX_VALUE_LENGTH])


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    query = MASK if parts.query else ""
    return parts._replace(netloc=host, query=query, fragment="").geturl()
