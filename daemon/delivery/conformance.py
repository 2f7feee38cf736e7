"""What a receiver is tested with, and what its answers say of it. Pure: no I/O.

Standard Webhooks 1.0 asks receivers to verify the signature over the raw body, to refuse old timestamps and
to handle each webhook-id once; what they do with types that they do not know decides how new ones can come.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from daemon.model import TEST_TYPE
from daemon.signing.canonical import JSON, event_body
from daemon.signing.secrets import (
    PrivateKey,
    SigningKey,
    generate_private_key,
    generate_secret,
    parse_secret,
)
from daemon.signing.standard import Message
from daemon.uuid7 import uuid7

UNKNOWN_TYPE = "webhook.test.unknown_type"
STALE = 600.0
"""Age in seconds of a stale timestamp; the libraries of Standard Webhooks take five minutes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a good receiver does: it refuses the request with 4xx, or else accepts it with 2xx."""

    name: str
    refuses: bool
    expected: str
    advice: str


WRONG_SIGNATURE = Check(
    "wrong_signature",
    True,
    "4xx, such as 401: a request whose signature does not verify is refused",
    "Verify webhook-signature over the raw body with this subscription's secret before anything else, and"
    " answer 401 where it does not match: as it is, anybody can send you events.",
)
STALE_TIMESTAMP = Check(
    "stale_timestamp",
    True,
    "4xx, such as 400: a request that was signed more than five minutes ago is refused",
    "Compare webhook-timestamp with the clock and answer 400 where they are more than five minutes apart: as"
    " it is, a recorded request can be sent to you again.",
)
REPEATED_ID = Check(
    "repeated_id",
    False,
    "2xx: an event that was handled before is accepted, and not handled again",
    "Keep the webhook-id of what you have handled, and answer 2xx without handling it once more where one"
    " comes again: an error only makes it come yet another time.",
)
UNKNOWN_EVENT_TYPE = Check(
    "unknown_event_type",
    False,
    "2xx: an event of a type that the receiver does not know is accepted and ignored",
    "Answer 2xx for event types that you do not know, and ignore them: new types are added, and an error"
    " makes the event come again for days.",
)


CHECKS = (WRONG_SIGNATURE, STALE_TIMESTAMP, REPEATED_ID, UNKNOWN_EVENT_TYPE)


@dataclass(frozen=True, slots=True)
class Variant:
    """A request that puts a receiver to a check: what is sent, and the keys that sign it."""

    check: Check
    message: Message
    keys: tuple[SigningKey, ...]


def message(subscription_id: UUID, now: float, event_type: str = TEST_TYPE) -> Message:
    """Return a new synthetic event, made and sent at `now` (Unix seconds), in the form of all events."""
    event_id = uuid7(now)
    data: JSON = {
        "message": "A test: nothing has happened, and nothing is to be done.",
        "subscription_id": str(subscription_id),
    }
    body = event_body(event_id, event_type, data).encode()
    return Message(event_id, uuid7(now), event_type, int(now), body)


def variants(
    valid: Message, keys: Sequence[SigningKey], subscription_id: UUID, now: float
) -> tuple[Variant, ...]:
    """Return what is sent after the `valid` message, in any order, at `now` (Unix seconds)."""
    good = tuple(keys)
    return (
        Variant(WRONG_SIGNATURE, message(subscription_id, now), tuple(map(_stranger, keys))),
        Variant(STALE_TIMESTAMP, message(subscription_id, now - STALE), good),
        Variant(REPEATED_ID, replace(valid, timestamp=int(now)), good),
        Variant(UNKNOWN_EVENT_TYPE, message(subscription_id, now, UNKNOWN_TYPE), good),
    )


def advice(check: Check, status: int | None, error: str | None) -> str | None:
    """Say what to change in a receiver that answered with `status`; None if it did what a good one does.

    Without a `status`, `error` is the code that says why there was no answer.
    """
    wanted = "4xx" if check.refuses else "2xx"
    if status is None:
        return f"There was no answer to judge ({error}): let the receiver answer this request with {wanted}."
    if status // 100 == (4 if check.refuses else 2):
        return None
    if status // 100 == 3:
        return f"Redirects are not followed: let the receiver answer this request itself, with {wanted}."
    if status // 100 == 5:
        return f"The receiver failed at this request, see its log: let it answer with {wanted}."
    return check.advice


def status_detail(status: int) -> str | None:
    """Say what the status of a refused or failed delivery asks for; None for a success."""
    if status // 100 == 2:
        return None
    if status // 100 == 3:
        return "Redirects are not followed: register the URL that they lead to."
    if status in _STATUS_DETAILS:
        return _STATUS_DETAILS[status]
    if status // 100 == 5:
        return "The receiver failed at the request: look for its webhook-id in the receiver's log."
    return "The receiver refused the request: let it answer 2xx to what is signed with this secret."


_SIGNATURE = (
    "The receiver refused the request: check that it verifies with this subscription's secret over the raw"
    " body, that its clock is right, and that nothing before it asks for a login."
)
_STATUS_DETAILS = {
    400: _SIGNATURE,
    401: _SIGNATURE,
    403: _SIGNATURE,
    404: "The receiver has nothing at this path: correct the subscription's URL.",
    405: "The receiver takes no POST at this path: correct the subscription's URL, or the receiver.",
    410: "The receiver says that it is gone: a real delivery would now disable the subscription.",
    413: "Something before the receiver takes no body of this size: raise its limit.",
    415: "The receiver does not take application/json: let it do so.",
    429: "The receiver has had too many requests: raise its limit.",
}


def _stranger(key: SigningKey) -> SigningKey:
    """Return another key of the same kind, so that nothing but the signature is wrong."""
    return parse_secret(generate_private_key() if isinstance(key, PrivateKey) else generate_secret())
