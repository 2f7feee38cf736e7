"""From what a publisher gives to the event that is kept: rules that every way of publishing shares. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from api.event_types import refusal
from api.timestamps import ADVICE, moment
from daemon.schemas import Schemas
from daemon.signing.canonical import JSON, event_body, nests_deeper
from daemon.store.events import NewEvent

MAX_KEY_LENGTH = 256


class BadFieldError(Exception):
    """A field of an event that cannot be taken: its name, and what is wrong with it and to be done.

    `within` is the JSON Pointer (RFC 6901) of the bad value within the field.
    """

    def __init__(self, name: str, advice: str, within: str = "") -> None:
        super().__init__(f"{name}{within}: {advice}")
        self.name = name
        self.advice = advice
        self.within = within


@dataclass(frozen=True, slots=True)
class EventRules:
    """What events may be: of a known type, at most so many bytes long, nested so deep, as its schema says.

    `max_values` is for whoever reads the text of the data, and may not read more. `new_id` gives each its id,
    a UUIDv7 of the database's time.
    """

    types: Sequence[str]
    max_bytes: int
    max_depth: int
    max_values: int
    new_id: Callable[[], UUID]
    schemas: Schemas = field(default_factory=Schemas)


def new_event(
    rules: EventRules,
    *,
    org_id: UUID,
    event_type: str,
    data: JSON,
    key: str | None = None,
    deliver_after: str | None = None,
) -> NewEvent:
    """Return the event with a new id and its canonical body. Error: `BadFieldError`."""
    unknown = refusal(event_type, rules.types)
    if unknown is not None:
        raise BadFieldError("type", unknown)
    if key is not None and not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise BadFieldError("key", f"must be a string of 1 to {MAX_KEY_LENGTH} characters")
    when = None if deliver_after is None else _moment(deliver_after)
    identifier = rules.new_id()
    body = event_body(identifier, event_type, data)
    if len(body) > rules.max_bytes:  # the body is ASCII
        advice = (
            f"makes an event of {len(body)} bytes; the most is {rules.max_bytes}: send a reference instead"
        )
        raise BadFieldError("data", advice)
    if nests_deeper(body, rules.max_depth + 1):  # the body is one object around the data
        raise BadFieldError("data", f"is nested deeper than {rules.max_depth} levels; flatten it")
    violation = rules.schemas.violation(event_type, data, len(body))
    if violation is not None:
        raise BadFieldError("data", violation.advice, violation.pointer)
    return NewEvent(identifier, org_id, event_type, body, key, when)


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError:
        raise BadFieldError("deliver_after", ADVICE) from None
