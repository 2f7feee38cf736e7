"""The headers of a delivery: Standard Webhooks 1.0, and the platform's own with their prefix."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
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


class Stamp(NamedTuple):
    """What differs between two attempts in the headers, as it stands there, in their order."""

    event_id: bytes
    timestamp: bytes
    signature: bytes
    event_type: bytes
    delivery_id: bytes
    own_signature: bytes


def stamp(
    keys: Sequence[SigningKey],
    *,
    event_id: UUID,
    delivery_id: UUID,
    event_type: str,
    timestamp: int,
    body: bytes,
) -> Stamp:
    """Return the headers' values for one attempt, signed.

    `keys` are the subscription's, newest first, several while a rotated secret overlaps: each makes a
    signature in `webhook-signature`. `{prefix}Signature`, the hexadecimal HMAC-SHA256 of the body alone, has
    room for one: the oldest keys it, as it was given, so that a receiver which knows no other yet is served
    until the overlap ends. `timestamp` is the attempt's, in Unix seconds. Raises `ValueError` without a key,
    or where the type cannot stand in a header.
    """
    if not keys:
        raise ValueError("a delivery needs a key to sign with; rotate the subscription's secret to make one")
    identifier = str(event_id)
    return Stamp(
        identifier.encode(),
        b"%d" % timestamp,
        sign(keys, identifier, timestamp, body).encode(),
        _field(event_type),
        str(delivery_id).encode(),
        keys[-1].given_mac.digest(body).hex().encode(),
    )


def header_fields(values: Stamp, *, prefix: str, user_agent: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of one attempt, but for those that the transport adds (host, length, encoding).

    Raises `ValueError` where the prefix or the user agent cannot stand in a header.
    """
    event, delivery, signature = _own_names(prefix)
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", _field(user_agent)),
        (b"webhook-id", values.event_id),
        (b"webhook-timestamp", values.timestamp),
        (b"webhook-signature", values.signature),
        (event, values.event_type),
        (delivery, values.delivery_id),
        (signature, values.own_signature),
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
