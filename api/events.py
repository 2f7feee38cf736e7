"""Publishing events: one, an array of them, or a stream."""

import hashlib
from collections.abc import Sequence

import trio
from pydantic import TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.asgi import current_request, json_response
from api.auth import Caller
from api.bodies import check_media_type, parsed, read_body, validated
from api.event_stream import publish_stream
from api.idempotency import idempotency_key
from api.ndjson import MEDIA_TYPES
from api.new_event import EventRules
from api.problems import FieldError, Problem, invalid
from api.publishing import CHECKPOINT_EVERY, IncomingEvent, commit, event_of, rules_of
from api.services import ApiSettings, Services
from daemon.model import Role
from daemon.store.events import NewEvent, Once

_JSON = "application/json"
_ENVELOPE_DEPTH = 2  # the array and the event around `data`
_MOST_ERRORS = 20
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
        media_type = check_media_type(request.headers, (_JSON, *MEDIA_TYPES))
        key = idempotency_key(request.headers)
        if media_type != _JSON:
            return json_response(await publish_stream(services, caller, request.incoming, key), 202)
        body = await read_body(request.incoming, request.headers, limit=settings.max_body)
        once = None if key is None else Once(caller.org_id, key, hashlib.sha256(body).digest())
        value = parsed(body, settings.max_depth + _ENVELOPE_DEPTH)
        if not isinstance(value, list):
            event = event_of(validated(_ONE, value), caller, rules_of(services))
            [identifier] = await commit(services, [event], once)
            return json_response({"id": str(identifier)}, 202)
        _check_size(len(value), settings)
        given = validated(_MANY, value)
        batch = await _events(given, caller, rules_of(services))
        return json_response({"ids": [str(one) for one in await commit(services, batch, once)]}, 202)

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


async def _events(given: Sequence[IncomingEvent], caller: Caller, rules: EventRules) -> list[NewEvent]:
    """Return the events as they are kept; raises a 422 `Problem` that names each bad field."""
    events: list[NewEvent] = []
    errors: list[FieldError] = []
    for index, item in enumerate(given):
        if index % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            await trio.lowlevel.checkpoint()  # a large batch lets others have their turn
        try:
            events.append(event_of(item, caller, rules, index))
        except Problem as problem:
            if not problem.errors:
                raise
            errors.extend(problem.errors)
    if errors:
        raise invalid(errors[:_MOST_ERRORS])
    return events
