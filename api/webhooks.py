"""Subscriptions: an organisation's endpoints and what each wants to hear of."""

from collections.abc import Awaitable
from typing import Any, TypeVar
from uuid import UUID

from quart import Blueprint
from quart.wrappers import Response

from api.access import ANY_ROLE, caller_of
from api.bodies import read_json, validated
from api.commits import finish
from api.cursors import page_limit
from api.etags import changed_meanwhile, matches, requested_revisions, revision_tag
from api.paging import page, query
from api.problems import FieldError, Problem, invalid, not_found
from api.quart_app import current_request, json_response, no_content
from api.secret_fields import new_secret, secret_warnings
from api.services import Services
from api.subscription_fields import (
    REGISTRATION,
    UPDATE,
    check,
    extras_of,
    shown_extras,
)
from daemon.model import Role
from daemon.rfc3339 import rfc3339
from daemon.signing.canonical import JSON
from daemon.store.subscriptions import (
    Change,
    ChangedMeanwhile,
    HeadersForAnotherHost,
    Subscription,
    TooManySubscriptions,
)

T = TypeVar("T")

_LISTING = "webhooks"
_MAX_BODY = 64 * 1024  # bytes
_MAX_DEPTH = 16  # a filter is held to less, and told so where it is at fault
_HEADERS_ANEW = (
    "were set for the host before, and would go to the new one: give headers for it in the same request, or "
    "null to drop them"
)


def blueprint(services: Services) -> Blueprint:
    """Return the routes under /webhooks."""
    routes = Blueprint("webhooks", __name__, url_prefix="/webhooks")

    @routes.post("")
    async def register() -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = validated(REGISTRATION, await _body())
        url = await check(wanted, services.settings(), services.check_url)
        assert url is not None  # noqa: S101  (the model requires one)
        secret = new_secret(wanted.signature) if wanted.secret is None else wanted.secret
        try:
            subscription = await _finish(
                services.subscriptions.register(
                    subscription_id=services.new_id(),
                    org_id=caller.org_id,
                    url=wanted.url,
                    host_key=url.host_key,
                    events=list(dict.fromkeys(wanted.events)),
                    secret=secret,
                    is_active=wanted.is_active,
                    extras=extras_of(wanted),
                )
            )
        except TooManySubscriptions as error:
            raise _too_many(error) from None
        document = shown(subscription) | secret_warnings(wanted.secret)
        if wanted.secret is None and subscription.public_key is None:
            document["secret"] = secret
        return json_response(
            document, 201, {"Location": f"/webhooks/{subscription.id}", "ETag": _etag(subscription)}
        )

    @routes.get("")
    async def listing() -> Response:
        caller = await caller_of(services, *ANY_ROLE)
        request = current_request()
        arguments = query(request, ("limit", "cursor"))
        limit, cursor = page_limit(arguments.get("limit")), arguments.get("cursor")
        before = None
        if cursor is not None:
            position = services.cursors.read(cursor, org_id=caller.org_id, listing=_LISTING, filters={})
            before = UUID(position)
        # One more than asked for tells whether there is another page.
        found = await services.subscriptions.page(caller.org_id, limit=limit + 1, before=before)
        here, following = found[:limit], None
        if len(found) > limit:
            last = str(here[-1].id)
            following = services.cursors.write(last, org_id=caller.org_id, listing=_LISTING, filters={})
        return page(request, [shown(item) for item in here], following)

    @routes.get("/events")
    async def event_types() -> Response:
        await caller_of(services)
        return json_response({"events": list(services.settings().event_types)})

    @routes.get("/<uuid:subscription_id>")
    async def one(subscription_id: UUID) -> Response:
        caller = await caller_of(services, *ANY_ROLE)
        subscription = await services.subscriptions.get(caller.org_id, subscription_id)
        if subscription is None:
            raise not_found("subscription")
        headers = {"ETag": _etag(subscription)}
        if matches(", ".join(current_request().headers.getlist("If-None-Match")), headers["ETag"]):
            return no_content(304, headers)
        return json_response(shown(subscription), headers=headers)

    @routes.patch("/<uuid:subscription_id>")
    async def change(subscription_id: UUID) -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = validated(UPDATE, await _body())
        revisions = requested_revisions()
        url = await check(wanted, services.settings(), services.check_url)
        change = Change(
            given=frozenset(wanted.model_fields_set),
            url=wanted.url,
            host_key=None if url is None else url.host_key,
            events=list(dict.fromkeys(wanted.events)),
            is_active=wanted.is_active,
            extras=extras_of(wanted),
        )
        try:
            subscription = await _finish(
                services.subscriptions.change(caller.org_id, subscription_id, change, revisions=revisions)
            )
        except ChangedMeanwhile:
            raise changed_meanwhile() from None
        except HeadersForAnotherHost:
            raise invalid([FieldError("/headers", _HEADERS_ANEW)]) from None
        if subscription is None:
            raise not_found("subscription")
        services.claimable()
        return json_response(shown(subscription), headers={"ETag": _etag(subscription)})

    @routes.delete("/<uuid:subscription_id>")
    async def delete(subscription_id: UUID) -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        revisions = requested_revisions()
        try:
            found = await _finish(
                services.subscriptions.remove(caller.org_id, subscription_id, revisions=revisions)
            )
        except ChangedMeanwhile:
            raise changed_meanwhile() from None
        if not found:
            raise not_found("subscription")
        return no_content(204)

    async def _finish(work: Awaitable[T]) -> T:
        return await finish(work, services.settings().commit_timeout)

    return routes


async def _body() -> JSON:
    request = current_request()
    return await read_json(request.incoming, request.headers, limit=_MAX_BODY, max_depth=_MAX_DEPTH)


def shown(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as the API shows it: never with its secret."""
    document: dict[str, Any] = {
        "id": str(subscription.id),
        "org_id": str(subscription.org_id),
        "url": subscription.url,
        "events": list(subscription.events),
        "is_active": subscription.is_active,
        "failure_count": subscription.failure_count,
        "created_at": rfc3339(subscription.created_at, milliseconds=False),
    }
    if subscription.disabled_reason is not None:
        document["disabled_reason"] = subscription.disabled_reason
    if subscription.public_key is not None:
        document["public_key"] = subscription.public_key
    return document | shown_extras(subscription.extras)


def _etag(subscription: Subscription) -> str:
    return revision_tag(subscription.revision, subscription.failure_count)


def _too_many(error: TooManySubscriptions) -> Problem:
    return Problem(
        409,
        "too-many-subscriptions",
        f"Your organisation has {error.limit} subscriptions, the most allowed; delete one first, "
        "or ask the operator to raise api.subscriptions_per_organisation.",
    )
