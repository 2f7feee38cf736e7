"""Events as `hookd publish` is given them, held to the same rules as those that come through the REST API."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from uuid import UUID

from api.new_event import BadFieldError, EventRules, new_event
from daemon.config.sections.events import EventsConfig
from daemon.schemas import Schemas
from daemon.signing.canonical import JSON, Unrepresentable, parse
from daemon.store.events import NewEvent

_ENVELOPE_DEPTH = 1  # the object around `data`
_ENVELOPE_VALUES = 8  # those of the event around `data`
ANY_DATA = Schemas()
_FIELDS = ("type", "data", "key", "deliver_after")


NewId = Callable[[], UUID]
"""Gives an event its id, a UUIDv7 of the database's time."""


class Refused(Exception):
    """An event that cannot be published; the text says why and what to do."""


def event_of_line(
    line: bytes, org_id: UUID, rules: EventsConfig, new_id: NewId, schemas: Schemas = ANY_DATA
) -> NewEvent:
    """Return the event that one line of NDJSON is: an object with `type`, `data`, `key`?, `deliver_after`?.

    Error: `Refused`.
    """
    value = _parsed(line, rules.max_depth + _ENVELOPE_DEPTH, rules.max_values + _ENVELOPE_VALUES)
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
        event_type,
        value["data"],
        org_id,
        rules,
        new_id,
        schemas,
        key=_text(value, "key"),
        deliver_after=_text(value, "deliver_after"),
    )


def event_of_options(
    event_type: str,
    data: str,
    org_id: UUID,
    rules: EventsConfig,
    new_id: NewId,
    schemas: Schemas = ANY_DATA,
) -> NewEvent:
    """Return the event that `--type` and `--data` make. Error: `Refused`."""
    try:
        value = _parsed(data, rules.max_depth, rules.max_values)
    except Refused as refusal:
        raise Refused(f"--data: {refusal}") from None
    return _event(event_type, value, org_id, rules, new_id, schemas)


def _event(
    event_type: str,
    data: JSON,
    org_id: UUID,
    rules: EventsConfig,
    new_id: NewId,
    schemas: Schemas,
    *,
    key: str | None = None,
    deliver_after: str | None = None,
) -> NewEvent:
    if event_type not in rules.types:  # REST points to an endpoint for the list; here there is none
        near = get_close_matches(event_type[:100], rules.types, n=1)
        hint = f'perhaps "{near[0]}" is meant' if near else f"known are {', '.join(rules.types)}"
        raise Refused(f'type: "{event_type[:100]}" is not a known event type; {hint}')
    try:
        return new_event(
            EventRules(rules.types, rules.max_bytes, rules.max_depth, rules.max_values, new_id, schemas),
            org_id=org_id,
            event_type=event_type,
            data=data,
            key=key,
            deliver_after=deliver_after,
        )
    except BadFieldError as error:
        raise Refused(str(error)) from None


def _parsed(text: bytes | str, max_depth: int, max_values: int) -> JSON:
    try:
        return parse(text, max_depth=max_depth, max_values=max_values, unique_keys=True)
    except Unrepresentable as error:
        # There is one line only here; which one it is of all, the caller says.
        raise Refused(error.reason.replace(" at line 1, ", " at ")) from None


def _text(value: Mapping[str, JSON], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise Refused(f"{name}: must be a string")
    return text
