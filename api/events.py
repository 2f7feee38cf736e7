"""Publishing events."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
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
from api.event_types import refusal
from api.problems import FieldError, Problem, invalid
from api.services import ApiSettings, Services
from daemon.model import Role, uuid7, uuid7_time
from daemon.signing.canonical import event_body
from daemon.store.events import NewEvent

_ENVELOPE_DEPTH = 2  # the array and the event around `data`
_CHECKPOINT_EVERY = 50  # events
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ONLY_PLATFORM = "needs the role platform; leave it out to publish for the token's own organisation"


class IncomingEvent(BaseModel):
    """One event as a publisher gives it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: str
    data: Any
    key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
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
    for index, item in enumerate(given):
        if index % _CHECKPOINT_EVERY == _CHECKPOINT_EVERY - 1:
            await trio.lowlevel.checkpoint()  # a large batch lets others have their turn
        try:
            events.append(_event(item, caller, settings))
        except _BadField as error:
            place = pointer(index, error.name) if batch else pointer(error.name)
            errors.append(FieldError(place, error.advice))
    if errors:
        raise invalid(errors[:20])
    return events


def _event(item: IncomingEvent, caller: Caller, settings: ApiSettings) -> NewEvent:
    if item.org_id is not None and Role.PLATFORM not in caller.roles:
        raise Problem(403, "missing-role", f"org_id {_ONLY_PLATFORM}.")
    unknown = refusal(item.type, settings.event_types)
    if unknown is not None:
        raise _BadField("type", unknown)
    deliver_after = None if item.deliver_after is None else _moment(item.deliver_after)
    identifier = uuid7()
    body = event_body(identifier, item.type, uuid7_time(identifier), item.data)
    if len(body) > settings.max_event:  # the body is ASCII
        advice = (
            f"makes an event of {len(body)} bytes; the most is {settings.max_event}: send a reference instead"
        )
        raise _BadField("data", advice)
    return NewEvent(
        id=identifier,
        org_id=item.org_id or caller.org_id,
        type=item.type,
        body=body,
        key=item.key,
        deliver_after=deliver_after,
    )


def _moment(text: str) -> datetime:
    """Return the moment that an RFC 3339 time with an offset names, in UTC."""
    if _RFC3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _BadField("deliver_after", "must be an RFC 3339 time with an offset, as in 2026-03-10T10:00:00Z")


class _BadField(Exception):
    """What is wrong with one field of an event."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(advice)
        self.name = name
        self.advice = advice
