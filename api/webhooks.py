"""Subscriptions: an organisation's endpoints and what each wants to hear of."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.asgi import current_request, json_response
from api.bodies import pointer, read_json, validated
from api.commits import finish
from api.cursors import page_limit
from api.event_types import pattern_refusal
from api.problems import FieldError, Problem, invalid, not_found
from api.services import ApiSettings, Services
from daemon.egress.url import Url, UrlRefused
from daemon.model import Role, rfc3339, uuid7
from daemon.signing.secrets import generate_secret, parse_secret
from daemon.store.subscriptions import Subscription, TooManySubscriptions

_LISTING = "webhooks"
_MAX_BODY = 64 * 1024  # bytes
_MAX_DEPTH = 4


class Registration(BaseModel):
    """What a subscription is made from."""

    model_config = ConfigDict(strict=True, extra="forbid")

    url: Annotated[str, Field(max_length=2048)]
    events: Annotated[list[str], Field(min_length=1, max_length=100)]
    secret: str | None = None


_REGISTRATION = TypeAdapter(Registration)


def blueprint(services: Services) -> Blueprint:
    """Return the routes under /webhooks."""
    routes = Blueprint("webhooks", __name__, url_prefix="/webhooks")

    @routes.post("")
    async def register() -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        request = current_request()
        value = await read_json(request.incoming, request.headers, limit=_MAX_BODY, max_depth=_MAX_DEPTH)
        wanted = validated(_REGISTRATION, value)
        url = await _checked(services, wanted)
        secret = generate_secret() if wanted.secret is None else wanted.secret
        try:
            subscription = await finish(
                services.subscriptions.register(
                    subscription_id=uuid7(),
                    org_id=caller.org_id,
                    url=wanted.url,
                    host_name=url.host_name,
                    events=list(dict.fromkeys(wanted.events)),
                    secret=secret,
                ),
                services.settings().commit_timeout,
            )
        except TooManySubscriptions as error:
            raise _too_many(error) from None
        document = shown(subscription)
        if wanted.secret is None:
            document["secret"] = secret
        return json_response(document, 201, {"Location": f"/webhooks/{subscription.id}"})

    @routes.get("")
    async def listing() -> Response:
        caller = await caller_of(services)
        arguments = current_request().args
        limit, cursor = page_limit(arguments.get("limit")), arguments.get("cursor")
        before = None
        if cursor is not None:
            position = services.cursors.read(cursor, org_id=caller.org_id, listing=_LISTING, filters={})
            before = UUID(position)
        # One more than asked for tells whether there is another page.
        found = await services.subscriptions.page(caller.org_id, limit=limit + 1, before=before)
        page, following = found[:limit], None
        if len(found) > limit:
            last = str(page[-1].id)
            following = services.cursors.write(last, org_id=caller.org_id, listing=_LISTING, filters={})
        return json_response({"data": [shown(item) for item in page], "next_cursor": following})

    @routes.get("/events")
    async def event_types() -> Response:
        await caller_of(services)
        return json_response({"events": list(services.settings().event_types)})

    @routes.get("/<uuid:subscription_id>")
    async def one(subscription_id: UUID) -> Response:
        caller = await caller_of(services)
        subscription = await services.subscriptions.get(caller.org_id, subscription_id)
        if subscription is None:
            raise not_found("subscription")
        return json_response(shown(subscription))

    return routes


def shown(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as the API shows it: never with its secret."""
    return {
        "id": str(subscription.id),
        "org_id": str(subscription.org_id),
        "url": subscription.url,
        "events": list(subscription.events),
        "is_active": subscription.is_active,
        "failure_count": subscription.failure_count,
        "created_at": rfc3339(subscription.created_at, milliseconds=False),
    }


async def _checked(services: Services, wanted: Registration) -> Url:
    """Return the parsed URL; raises one 422 `Problem` that names all that is wrong with the fields."""
    errors = _pattern_errors(wanted.events, services.settings())
    if wanted.secret is not None:
        try:
            parse_secret(wanted.secret)
        except ValueError as error:
            errors.append(FieldError("/secret", str(error)))
    try:
        url = await services.check_url(wanted.url)
    except UrlRefused as error:
        raise invalid([FieldError("/url", error.detail), *errors]) from None
    if errors:
        raise invalid(errors)
    return url


def _pattern_errors(patterns: list[str], settings: ApiSettings) -> list[FieldError]:
    refusals = [(index, pattern_refusal(name, settings.event_types)) for index, name in enumerate(patterns)]
    return [FieldError(pointer("events", index), refusal) for index, refusal in refusals if refusal]


def _too_many(error: TooManySubscriptions) -> Problem:
    return Problem(
        409,
        "too-many-subscriptions",
        f"Your organisation has {error.limit} subscriptions, the most allowed; delete one first, "
        "or ask the operator to raise api.subscriptions_per_organisation.",
    )
