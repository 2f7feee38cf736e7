"""The headers of a delivery: Standard Webhooks 1.0, and the platform's own with their prefix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(slots=True)
class Message:
    """An event on its way to one subscription. `timestamp`: that of the attempt, in Unix seconds."""

    event_id: UUID
    delivery_id: UUID
    event_type: str
    timestamp: int
    body: bytes


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """What the operator's settings put into every request: the prefix of the platform's own headers."""

    prefix: str
    user_agent: str


class Stamp(NamedTuple):
    """What differs between two attempts in the headers, as it stands there, in their order."""

    event_id: bytes
    timestamp: bytes
    signature: bytes
    event_type: bytes
    delivery_id: bytes
    own_signature: bytes


def stamp(keys: Sequence[SigningKey], message: Message) -> Stamp:
    """Return the headers' values for one attempt, signed.

    `keys` are the subscription's, newest first, several while a rotated secret overlaps: each makes a
    signature in `webhook-signature`. `{prefix}Signature`, the hexadecimal HMAC-SHA256 of the body alone, has
    room for one: the oldest keys it, as it was given, so that a receiver which knows no other yet is served
    until the overlap ends. Raises `ValueError` without a key, or where the type cannot stand in a header.
    """
    if not keys:
        raise ValueError("a delivery needs a key to sign with; rotate the subscription's secret to make one")
    identifier = str(message.event_id)
    return Stamp(
        identifier.encode(),
        b"%d" % message.timestamp,
        sign(keys, identifier, message.timestamp, message.body).encode(),
        _field(message.event_type),
        str(message.delivery_id).encode(),
        keys[-1].given_mac.digest(message.body).hex().encode(),
    )


def attempt_headers(
    values: Stamp, settings: HeaderSettings, own: Iterable[tuple[bytes, bytes]] = ()
) -> list[tuple[bytes, bytes]]:
    """Return the headers of one attempt, but for those that the transport adds (host, length, encoding).

    `own` are the subscription's. Raises `ValueError` where a setting cannot stand in a header.
    """
    event, delivery, signature = _own_names(settings.prefix)
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", _field(settings.user_agent)),
        (b"webhook-id", values.event_id),
        (b"webhook-timestamp", values.timestamp),
        (b"webhook-signature", values.signature),
        (event, values.event_type),
        (delivery, values.delivery_id),
        (signature, values.own_signature),
        *own,
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
