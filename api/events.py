"""Publishing events: one, an array of them, or a stream."""

import hashlib
import json
from collections import deque
from time import perf_counter

from pydantic import TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.auth import Caller
from api.bodies import check_media_type, parsed, pointer, problem_of, read_body, validated
from api.idempotency import idempotency_key
from api.ndjson import MEDIA_TYPES
from api.ndjson_publish import publish_stream
from api.new_event import EventRules
from api.problems import FieldError, Problem, invalid
from api.publishing import (
    ENVELOPE_DEPTH,
    ENVELOPE_VALUES,
    MAX_PIECE,
    IncomingEvent,
    commit,
    event_of,
    longest_text,
    rules_of,
)
from api.quart_app import current_request, json_response
from api.services import ApiSettings, Services
from daemon.model import Role
from daemon.signing.canonical import JSON, Unrepresentable
from daemon.signing.json_array import BadElement, ElementLimits, elements, is_array
from daemon.store.events import NewEvent, Once

_JSON = "application/json"
_MAX_ERRORS = 20
_SMALL = 4 * 1024
"""Bytes of an event that is made of its text in one piece of work."""
_EVENT = TypeAdapter(IncomingEvent)


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
        body = await read_body(request.incoming, limit=settings.max_body)
        once = None if key is None else Once(caller.org_id, key, hashlib.sha256(body).digest())
        if not is_array(body):
            event = await _one(body, caller, settings)
            [identifier] = await commit(services, [event], once)
            return json_response({"id": str(identifier)}, 202)
        events = await _many(body, caller, settings)
        # Canonical bodies may be longer than what came; the text itself is not needed any more.
        request.incoming.hold(sum(len(event.body) for event in events), beyond_share=True)
        del body
        return json_response({"ids": [str(one) for one in await commit(services, events, once)]}, 202)

    async def _one(body: bytes, caller: Caller, settings: ApiSettings) -> NewEvent:
        """Return the event of a body that holds one; raises a `Problem`."""
        longest, rules = longest_text(settings), rules_of(services)
        if len(body) > longest:
            raise invalid([FieldError("", f"is longer than {longest} bytes; send a reference instead")])
        async with services.loop_time.piece(caller.org_id):
            value = parsed(body, settings.max_depth + ENVELOPE_DEPTH, settings.max_values + ENVELOPE_VALUES)
            # A large one lets others have their turn before it is looked at in full.
            if len(body) <= _SMALL:
                return event_of(validated(_EVENT, value), caller, rules)
        async with services.loop_time.piece(caller.org_id):
            return event_of(validated(_EVENT, value), caller, rules)

    async def _many(body: bytes, caller: Caller, settings: ApiSettings) -> list[NewEvent]:
        """Return the events of a body that is an array; raises a `Problem`."""
        batch = _Batch(body, caller, settings, rules_of(services))
        while not batch.ended:
            async with services.loop_time.piece(caller.org_id):
                batch.go_on()
        return batch.events()

    return routes


def _require_publisher(caller: Caller) -> None:
    if Role.PLATFORM not in caller.roles:
        caller.require(Role.PUBLISHER)


class _Batch:
    """The events of one body, read in pieces of work between which others have their turn."""

    def __init__(self, body: bytes, caller: Caller, settings: ApiSettings, rules: EventRules) -> None:
        depth, values = settings.max_depth + ENVELOPE_DEPTH, settings.max_values + ENVELOPE_VALUES
        self._steps = elements(body, ElementLimits(longest_text(settings), values, depth))
        self._caller = caller
        self._most = settings.max_batch
        self._rules = rules
        self._values: deque[JSON] = deque()
        self._seen = 0
        self._events: list[NewEvent] = []
        self._errors: list[FieldError] = []
        self.ended = False

    def go_on(self) -> None:
        """Do one piece of the work; raises a `Problem` where the rest is not worth it."""
        if not self._values:
            self._read()
            return
        until = perf_counter() + MAX_PIECE
        while self._values and perf_counter() < until:
            self._take(self._values.popleft())

    def events(self) -> list[NewEvent]:
        """Return the events as they are kept; raises a 422 `Problem` that names each bad field."""
        if self._errors:
            raise invalid(self._errors)
        if not self._seen:
            raise invalid([FieldError("", "is empty; send at least one event")])
        return self._events

    def _read(self) -> None:
        try:
            values = next(self._steps, None)
        except BadElement as error:
            raise invalid([_told(error)]) from None
        except Unrepresentable as error:
            raise problem_of(error) from None
        if values is None or len(self._errors) >= _MAX_ERRORS:
            self.ended = True
        else:
            self._values.extend(values)

    def _take(self, value: JSON) -> None:
        index = self._seen
        self._seen += 1
        if self._seen > self._most:
            advice = f"holds more than {self._most} events; send fewer at a time, in several requests"
            raise invalid([FieldError("", advice)])
        try:
            event = event_of(validated(_EVENT, value, index), self._caller, self._rules, index)
        except Problem as problem:
            if not problem.errors:
                raise
            room = _MAX_ERRORS - len(self._errors)
            self._errors.extend(problem.errors[:room])
        else:
            self._events.append(event)


def _told(error: BadElement) -> FieldError:
    place, reason = error.fault.pointer or "", error.fault.reason
    # Which of the events it is, the pointer says.
    return FieldError(pointer(error.index) + place, reason.replace(f" at {json.dumps(place)}", ""))
