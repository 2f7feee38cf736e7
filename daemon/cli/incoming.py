"""Events as `hookd publish` is given them, held to the same rules as those that come through the REST API."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from uuid import UUID

from daemon.config.model import EventsConfig
from daemon.model import uuid7, uuid7_time
from daemon.signing.canonical import JSON, Unrepresentable, event_body, parse
from daemon.store.events import NewEvent

_ENVELOPE_DEPTH = 1  # the object around `data`
_LONGEST_KEY = 256
_FIELDS = ("type", "data", "key", "deliver_after")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Refused(Exception):
    """An event that cannot be published; the text says why and what to do."""


def event_of_line(line: bytes, org_id: UUID, rules: EventsConfig) -> NewEvent:
    """Return the event that one line of NDJSON is: an object with `type`, `data`, `key`?, `deliver_after`?.

    Error: `Refused`.
    """
    value = _parsed(line, rules.max_depth + _ENVELOPE_DEPTH)
    if not isinstance(value, dict):
        raise Refused('not an event: write {"type": ..., "data": ...}, one event a line')
    for name in value:
        if name == "org_id":
            raise Refused("org_id: leave it out, --org says for whom the events are")
        if name not in _FIELDS:
            raise Refused(f"{name[:80]}: not a known field; leave it out")
    for name in ("type", "data"):
        if name not in value:
            raise Refused(f"{name}: is missing; add it")
    event_type = value["type"]
    if not isinstance(event_type, str):
        raise Refused("type: must be a string")
    return _event(
        event_type, value["data"], org_id, rules, key=_key(value), deliver_after=_deliver_after(value)
    )


def event_of_options(event_type: str, data: str, org_id: UUID, rules: EventsConfig) -> NewEvent:
    """Return the event that `--type` and `--data` make. Error: `Refused`."""
    try:
        value = _parsed(data, rules.max_depth)
    except Refused as refusal:
        raise Refused(f"--data: {refusal}") from None
    return _event(event_type, value, org_id, rules)


def _event(
    event_type: str,
    data: JSON,
    org_id: UUID,
    rules: EventsConfig,
    *,
    key: str | None = None,
    deliver_after: datetime | None = None,
) -> NewEvent:
    if event_type not in rules.types:
        near = get_close_matches(event_type[:100], rules.types, n=1)
        hint = f'perhaps "{near[0]}" is meant' if near else f"known are {', '.join(rules.types)}"
        raise Refused(f'type: "{event_type[:100]}" is not a known event type; {hint}')
    identifier = uuid7()
    body = event_body(identifier, event_type, uuid7_time(identifier), data)
    if len(body) > rules.max_bytes:  # the body is ASCII
        raise Refused(
            f"data: makes an event of {len(body)} bytes; the most is {rules.max_bytes} (events.max_bytes):"
            " send a reference instead"
        )
    return NewEvent(identifier, org_id, event_type, body, key, deliver_after)


def _parsed(text: bytes | str, max_depth: int) -> JSON:
    try:
        return parse(text, max_depth=max_depth)
    except Unrepresentable as error:
        # There is one line only here; which one it is of all, the caller says.
        raise Refused(error.reason.replace(" at line 1, ", " at ")) from None


def _key(value: Mapping[str, JSON]) -> str | None:
    key = value.get("key")
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= _LONGEST_KEY:
        raise Refused(f"key: must be a string of 1 to {_LONGEST_KEY} characters")
    return key


def _deliver_after(value: Mapping[str, JSON]) -> datetime | None:
    text = value.get("deliver_after")
    if text is None:
        return None
    if isinstance(text, str) and _RFC3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise Refused("deliver_after: must be an RFC 3339 time with an offset, as in 2026-03-10T10:00:00Z")
