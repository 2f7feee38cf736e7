"""From events as publishers give them to events in the store: what every form of POST /events shares."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.auth import Caller
from api.bodies import pointer
from api.commits import finish
from api.new_event import MAX_KEY_LENGTH, BadFieldError, EventRules, new_event
from api.problems import FieldError, Problem, invalid
from api.services import ApiSettings, Services
from daemon.model import Role
from daemon.store.events import NewEvent, Once, OtherRequest, StillRunning

MAX_PIECE = 0.005
"""Seconds of work on events after which others may have their turn."""
ENVELOPE_DEPTH = 1
"""Levels of nesting around the data of an event, as a publisher gives it."""
ENVELOPE_VALUES = 8
"""Values beside those of its data."""
ENVELOPE_BYTES = 4096
"""Bytes of text beside those of its data."""
_ONLY_PLATFORM = "needs the role platform; leave it out to publish for the token's own organisation"


class IncomingEvent(BaseModel):
    """One event as a publisher gives it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Annotated[str, Field(description="One of the event types.")]
    data: Annotated[Any, Field(description="What happened: any JSON value.")]
    key: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH)] | None,
        Field(description="Your own identifier: known for 24 hours, the event is not published again."),
    ] = None
    deliver_after: Annotated[
        Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None,
        Field(description="Nothing is sent before this time."),
    ] = None
    # The only field that JSON has no type for: its text may be read.
    org_id: Annotated[
        Annotated[UUID, Field(strict=False)] | None,
        Field(description="Whose event it is, where that is not the token's organisation: `platform` only."),
    ] = None


def rules_of(services: Services) -> EventRules:
    """Return what events may be now."""
    settings = services.settings()
    return EventRules(
        settings.event_types,
        settings.max_event,
        settings.max_depth,
        settings.max_values,
        services.new_id,
        settings.schemas,
    )


def longest_text(settings: ApiSettings) -> int:
    """Return how many bytes of JSON text one event may be: with blanks and escapes more than its body."""
    return 2 * settings.max_event + ENVELOPE_BYTES


def event_of(item: IncomingEvent, caller: Caller, rules: EventRules, *place: int) -> NewEvent:
    """Return an event as it is kept; `place` is where it stands in the request.

    Raises a 422 `Problem` that names the bad field, and a 403 for another organisation's.
    """
    if item.org_id is not None and Role.PLATFORM not in caller.roles:
        raise Problem(403, "missing-role", f"org_id {_ONLY_PLATFORM}.")
    try:
        return new_event(
            rules,
            org_id=item.org_id or caller.org_id,
            event_type=item.type,
            data=item.data,
            key=item.key,
            deliver_after=item.deliver_after,
        )
    except BadFieldError as error:
        raise invalid([FieldError(pointer(*place, error.name) + error.within, error.advice)]) from None


async def commit(services: Services, events: Sequence[NewEvent], once: Once | None) -> list[UUID]:
    """Publish `events`, all or none, and return their ids.

    Raises a `Problem`: 409 while another request with the same key is at it, 422 if the key stands for other
    events, 503 where the outcome is not known; and what `Publisher.publish` raises.
    """
    try:
        ids = await finish(services, services.events.publish(events, once))
    except StillRunning:
        detail = "A request with this Idempotency-Key is being published now; send this one again after it."
        raise Problem(409, "idempotency-key-in-use", detail, headers={"Retry-After": "1"}) from None
    except OtherRequest:
        detail = (
            "This Idempotency-Key came with another body in the last 24 hours; send this body with a new key."
        )
        raise Problem(422, "idempotency-key-reused", detail) from None
    services.published()
    return ids
