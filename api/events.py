"""Publishing events."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import trio
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.asgi import current_request, json_response
from api.auth import Caller
from api.bodies import pointer, read_json, validated
from api.commits import finish
from api.new_event import LONGEST_KEY, BadFieldError, EventRules, new_event
from api.problems import FieldError, Problem, invalid
from api.services import ApiSettings, Services
from daemon.model import Role
from daemon.store.events import NewEvent

_ENVELOPE_DEPTH = 2  # the array and the event around `data`
_CHECKPOINT_EVERY = 50  # events
_ONLY_PLATFORM = "needs the role platform; leave it out to publish for the token's own organisation"


class IncomingEvent(BaseModel):
    """One event as a publisher gives it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: str
    data: Any
    key: Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)] | None = None
    deliver_after: str | None = None
    # The only field that JSON has no type for: its text may be read.
    org_id: Annotated[UUID, Field(strict=False)] | None = None


_ONE = TypeAdapter(IncomingEvent)
_MANY = TypeAdapter(list[IncomingEvent])


def blueprint(services: Services) -> Blueprint:
    """Return the route /events."""
    routes = Blueprint("events", __name__)

    @routes.post("/events")
    async def publish() -> Response:
        caller = await caller_of(services)
        settings = services.settings()
        _require_publisher(caller)
        request = current_request()
        value = await read_json(
            request.incoming,
            request.headers,
            limit=settings.max_body,
            max_depth=settings.max_depth + _ENVELOPE_DEPTH,
        )
        if not isinstance(value, list):
            one = await _events([validated(_ONE, value)], caller, settings)
            [identifier] = await _publish(services, one)
            return json_response({"id": str(identifier)}, 202)
        _check_size(len(value), settings)
        given = validated(_MANY, value)
        batch = await _events(given, caller, settings, batch=True)
        return json_response(
            {"ids": [str(identifier) for identifier in await _publish(services, batch)]}, 202
        )

    return routes


def _require_publisher(caller: Caller) -> None:
    if Role.PLATFORM not in caller.roles:
        caller.require(Role.PUBLISHER)


def _check_size(size: int, settings: ApiSettings) -> None:
    if not size:
        raise invalid([FieldError("", "is empty; send at least one event")])
    if size > settings.max_batch:
        advice = f"holds {size} events; send at most {settings.max_batch} at a time, in several requests"
        raise invalid([FieldError("", advice)])


async def _publish(services: Services, events: Sequence[NewEvent]) -> list[UUID]:
    identifiers = await finish(services.events.publish(events), services.settings().commit_timeout)
    services.published()
    return identifiers


async def _events(
    given: Sequence[IncomingEvent], caller: Caller, settings: ApiSettings, *, batch: bool = False
) -> list[NewEvent]:
    """Return the events as they are kept; raises a 422 `Problem` that names each bad field."""
    events: list[NewEvent] = []
    errors: list[FieldError] = []
    rules = EventRules(settings.event_types, settings.max_event, settings.max_depth)
    for index, item in enumerate(given):
        if index % _CHECKPOINT_EVERY == _CHECKPOINT_EVERY - 1:
            await trio.lowlevel.checkpoint()  # a large batch lets others have their turn
        try:
            events.append(_event(item, caller, rules))
        except BadFieldError as error:
            place = pointer(index, error.name) if batch else pointer(error.name)
            errors.append(FieldError(place, error.advice))
    if errors:
        raise invalid(errors[:20])
    return events


def _event(item: IncomingEvent, caller: Caller, rules: EventRules) -> NewEvent:
    if item.org_id is not None and Role.PLATFORM not in caller.roles:
        raise Problem(403, "missing-role", f"org_id {_ONLY_PLATFORM}.")
    return new_event(
        rules,
        org_id=item.org_id or caller.org_id,
        event_type=item.type,
        data=item.data,
        key=item.key,
        deliver_after=item.deliver_after,
    )
