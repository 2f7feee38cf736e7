"""The headers of a delivery: Standard Webhooks 1.0, and the platform's own with their prefix."""

import hmac
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from daemon.signing.secrets import SigningKey


def sign(keys: Sequence[SigningKey], event_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: signatures of `id.timestamp.body`, one a key, space separated.

    `timestamp` is in Unix seconds.
    """
    content = f"{event_id}.{timestamp}.".encode() + body
    if len(keys) == 1:
        return keys[0].signature(content)
    return " ".join([key.signature(content) for key in keys])


def signature_headers(
    keys: Sequence[SigningKey],
    *,
    event_id: UUID,
    delivery_id: UUID,
    event_type: str,
    timestamp: int,
    body: bytes,
    prefix: str,
    user_agent: str,
) -> list[tuple[bytes, bytes]]:
    """Return the headers of one attempt, but for those that the transport adds (host, length, encoding).

    `keys` are the subscription's, newest first, several while a rotated secret overlaps: each makes a
    signature in `webhook-signature`, and the newest, as it was given, keys `{prefix}Signature`, the
    hexadecimal HMAC-SHA256 of the body alone. `timestamp` is the attempt's, in Unix seconds. Raises
    `ValueError` without a key, or where the type, the prefix or the user agent cannot stand in a header.
    """
    if not keys:
        raise ValueError("a delivery needs a key to sign with; rotate the subscription's secret to make one")
    event, delivery, signature = _own_names(prefix)
    identifier = str(event_id)
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", _field(user_agent)),
        (b"webhook-id", identifier.encode()),
        (b"webhook-timestamp", b"%d" % timestamp),
        (b"webhook-signature", sign(keys, identifier, timestamp, body).encode()),
        (event, _field(event_type)),
        (delivery, str(delivery_id).encode()),
        (signature, hmac.digest(keys[0].given, body, "sha256").hex().encode()),
    ]


@lru_cache(maxsize=16)
def _own_names(prefix: str) -> tuple[bytes, bytes, bytes]:
    return _field(prefix + "Event"), _field(prefix + "Delivery"), _field(prefix + "Signature")


@lru_cache(maxsize=1024)
def _field(text: str) -> bytes:
    # A line break here would let an event's type add headers (RFC 9110 section 5.5).
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text[:100]!r} cannot stand in a header; use printable ASCII characters only")
    return text.encode()
