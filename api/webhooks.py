"""Subscriptions: an organisation's endpoints and what each wants to hear of."""

from functools import partial
from typing import Any
from uuid import UUID

from quart import Blueprint
from quart.wrappers import Response

from api.access import ANY_ROLE, caller_of
from api.commits import finish
from api.cursors import page_limit
from api.etags import matches, requested_revisions, revision_tag
from api.json_request import json_request
from api.paging import Listing, newest_first, query
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
from daemon.store.subscriptions import (
    Change,
    HeadersForAnotherHost,
    NewSubscription,
    Subscription,
    TooManySubscriptions,
)

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
    webhooks = Webhooks(services)
    routes.post("")(webhooks.register)
    routes.get("")(webhooks.listing)
    routes.get("/events")(webhooks.event_types)
    routes.get("/<uuid:subscription_id>")(webhooks.one)
    routes.patch("/<uuid:subscription_id>")(webhooks.change)
    routes.delete("/<uuid:subscription_id>")(webhooks.delete)
    return routes


class Webhooks:
    """What may be asked of subscriptions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.subscriptions

    async def register(self) -> Response:
        """Register one; its secret is told here and never again."""
        services = self._services
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = await json_request(REGISTRATION, limit=_MAX_BODY, max_depth=_MAX_DEPTH)
        url = await check(wanted, services.settings(), services.check_url)
        assert url is not None  # noqa: S101  (the model requires one)
        secret = new_secret(wanted.signature) if wanted.secret is None else wanted.secret
        new = NewSubscription(
            services.new_id(),
            caller.org_id,
            wanted.url,
            url.host_key,
            list(dict.fromkeys(wanted.events)),
            secret,
            wanted.is_active,
            extras_of(wanted),
        )
        try:
            subscription = await finish(services, self._store.register(new))
        except TooManySubscriptions as error:
            raise _too_many(error) from None
        document = shown(subscription) | secret_warnings(wanted.secret)
        if wanted.secret is None and subscription.public_key is None:
            document["secret"] = secret
        return json_response(
            document, 201, {"Location": f"/webhooks/{subscription.id}", "ETag": _etag(subscription)}
        )

    async def listing(self) -> Response:
        """Return those of the organisation."""
        caller = await caller_of(self._services, *ANY_ROLE)
        limit = page_limit(query(current_request(), ("limit", "cursor")).get("limit"))
        listing = Listing(self._services.cursors, _LISTING, caller.org_id)
        return await newest_first(listing, limit, partial(self._store.page, caller.org_id), shown)

    async def event_types(self) -> Response:
        """Return the types that there are."""
        await caller_of(self._services)
        return json_response({"events": list(self._services.settings().event_types)})

    async def one(self, subscription_id: UUID) -> Response:
        """Return one, unless it is as the client knows it."""
        caller = await caller_of(self._services, *ANY_ROLE)
        subscription = await self._store.get(caller.org_id, subscription_id)
        if subscription is None:
            raise not_found("subscription")
        headers = {"ETag": _etag(subscription)}
        if matches(", ".join(current_request().headers.getlist("If-None-Match")), headers["ETag"]):
            return no_content(304, headers)
        return json_response(shown(subscription), headers=headers)

    async def change(self, subscription_id: UUID) -> Response:
        """Change what is given."""
        services = self._services
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = await json_request(UPDATE, limit=_MAX_BODY, max_depth=_MAX_DEPTH)
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
            subscription = await finish(
                services, self._store.change(caller.org_id, subscription_id, change, revisions=revisions)
            )
        except HeadersForAnotherHost:
            raise invalid([FieldError("/headers", _HEADERS_ANEW)]) from None
        if subscription is None:
            raise not_found("subscription")
        services.claimable()
        return json_response(shown(subscription), headers={"ETag": _etag(subscription)})

    async def delete(self, subscription_id: UUID) -> Response:
        """Delete one with its pending deliveries."""
        caller = await caller_of(self._services, Role.ORG_ADMIN)
        removal = self._store.remove(caller.org_id, subscription_id, revisions=requested_revisions())
        if not await finish(self._services, removal):
            raise not_found("subscription")
        return no_content(204)


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
