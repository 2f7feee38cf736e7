"""What receivers get, as OpenAPI's `webhooks` have it: one for each event type, for generators."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from api.reference.parameters import DELIVERY, EVENT
from daemon.model import TEST_TYPE

Json = dict[str, Any]

TAG = "Receiving"
ABOUT = "What hookd sends to your URLs: one request for each event, signed as Standard Webhooks 1.0 has it."
_DIALECT = "https://json-schema.org/draft/2020-12/schema"  # that of OpenAPI 3.1
_SIGNATURE = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
_ANSWERS: Mapping[str, str] = {
    "2XX": "You have it. Answer as soon as it is stored, and work on it afterwards.",
    "410": "You want no more: the subscription is switched off.",
    "429": "Too much: `Retry-After` says for how long hookd is to wait.",
    "default": "You do not have it, and it is tried again by the schedule.",
}


def names(event_types: Iterable[str]) -> dict[str, str]:
    """Return a name for each event type as programs have them: `match.proposed` is `MatchProposed`."""
    found: dict[str, str] = {}
    for event_type in event_types:
        name = plain = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", event_type))
        number = 2
        while name in found.values():  # a.b_c and a.b.c
            name, number = f"{plain}{number}", number + 1
        found[event_type] = name
    return found


def webhooks(event_types: Iterable[str], prefix: str) -> Json:
    """Return the `webhooks` object: an operation for each type, and for that of test requests."""
    told = names([*event_types, TEST_TYPE])
    return {event_type: {"post": _operation(event_type, name, prefix)} for event_type, name in told.items()}


def event_schemas(event_types: Iterable[str], schemas: Mapping[str, bytes]) -> Json:
    """Return the schemas of the bodies, by name; `schemas` are those that the operator has for `data`."""
    told = names([*event_types, TEST_TYPE])
    return {f"{name}Event": _body(event_type, schemas.get(event_type)) for event_type, name in told.items()}


def _operation(event_type: str, name: str, prefix: str) -> Json:
    told = "A test of your receiver." if event_type == TEST_TYPE else f"An event of the type `{event_type}`."
    return {
        "operationId": f"receive{name}",
        "tags": [TAG],
        "summary": event_type,
        "description": f"{told} Verify the signature over the raw body before you read it.",
        "security": [],
        "parameters": [
            _header("webhook-id", "The event's identifier, at each attempt: skip what you have had.", EVENT),
            _header("webhook-timestamp", "When this attempt was signed, in Unix seconds.", "1773136800"),
            _header("webhook-signature", "One signature or several, with blanks between.", _SIGNATURE),
            _header(f"{prefix}Event", "The event's type.", event_type),
            _header(f"{prefix}Delivery", "The delivery's identifier, at each of its attempts.", DELIVERY),
            _header(
                f"{prefix}Signature",
                "Hexadecimal HMAC-SHA256 of the body, keyed with the whole secret; during a rotation, with"
                " the previous one.",
                "5" * 64,
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}Event"}}},
        },
        "responses": {status: {"description": about} for status, about in _ANSWERS.items()},
    }


def _header(name: str, description: str, example: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


def _body(event_type: str, schema: bytes | None) -> Json:
    return {
        "type": "object",
        "description": f"The body of an event of the type `{event_type}`.",
        "required": ["data", "id", "timestamp", "type"],
        "properties": {
            "data": _data(schema),
            "id": {"type": "string", "format": "uuid", "description": "The event's identifier."},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it was published."},
            "type": {"type": "string", "enum": [event_type], "description": "The event's type."},
        },
        "additionalProperties": True,
    }


def _data(schema: bytes | None) -> Json:
    """Return the operator's schema of the data where it can stand in this document, else any value.

    Its references would lead astray here, and other dialects mean other things by the same words.
    """
    told: Json = {"description": "What the publisher tells of it."}
    if schema is None:
        return told
    found = json.loads(schema)
    if not isinstance(found, dict) or found.pop("$schema", _DIALECT) != _DIALECT:
        return told
    found.pop("$id", None)
    if re.search(r'"\$(ref|dynamicRef|recursiveRef|anchor|dynamicAnchor|id)"', json.dumps(found)):
        return told
    return told | found
