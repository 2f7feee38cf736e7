"""Deliveries of a subscription: attempts, what is pending, one delivery explained, and the same once more."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import trio
from quart import Blueprint
from quart.wrappers import Response

from api.access import ANY_ROLE, caller_of
from api.commits import finish
from api.cursors import page_limit
from api.event_types import is_pattern
from api.paging import Listing, page, query
from api.pending_reason import waiting
from api.problems import Problem, not_found
from api.quart_app import current_request, json_response
from api.request_replica import METHOD, RequestReplica
from api.services import Services
from api.timestamps import ADVICE, moment
from daemon.model import Role
from daemon.rfc3339 import rfc3339
from daemon.store.history import (
    Attempt,
    AttemptFilter,
    CannotRedeliver,
    CannotRetry,
    Delivery,
    PendingDelivery,
)
from daemon.uuid7 import uuid7_time

_LISTING = "deliveries"
_QUERY = ("status", "event_type", "from", "to", "limit", "cursor")
_STATUSES = ("succeeded", "failed", "pending")
_MAX_TYPE_LENGTH = 200
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)  # a margin before the end of the calendar
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_SENT = ("expired", "unrepresentable", "filter_failed", "cancelled")

_CANNOT = {
    "expired": (
        "event-expired",
        "The event is older than events are kept, and its body is gone; publish it anew.",
    ),
    "unrepresentable": (
        "event-unrepresentable",
        "The event has no form that could be sent; publish it anew with data that JSON can carry.",
    ),
    "sending": (
        "being-sent",
        "The delivery is being sent at this moment; read it to see what comes of that.",
    ),
    "ended": (
        "delivery-ended",
        "The delivery has succeeded or was given up, and is not tried again; redeliver makes a new one.",
    ),
}


def blueprint(services: Services) -> Blueprint:
    """Return the routes of deliveries under /webhooks/{subscription_id}."""
    routes = Blueprint("deliveries", __name__, url_prefix="/webhooks/<uuid:subscription_id>/deliveries")
    deliveries = Deliveries(services)
    routes.get("")(deliveries.listing)
    routes.get("/<uuid:delivery_id>")(deliveries.one)
    routes.post("/<uuid:delivery_id>/redeliver")(deliveries.redeliver)
    routes.post("/<uuid:delivery_id>/retry")(deliveries.retry)
    return routes


class Deliveries:
    """What may be asked of a subscription's deliveries."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.deliveries

    async def listing(self, subscription_id: UUID) -> Response:
        """Return the attempts, or what is pending."""
        caller = await caller_of(self._services, *ANY_ROLE)
        arguments = query(current_request(), _QUERY)
        limit, filters = page_limit(arguments.get("limit")), _filters(arguments)
        scope = {**filters, "subscription": str(subscription_id)}
        listing = Listing(self._services.cursors, _LISTING, caller.org_id, scope)
        if filters.get("status") == "pending":
            return await self._pending(listing, subscription_id, limit)
        return await self._attempts(listing, subscription_id, limit)

    async def one(self, subscription_id: UUID, delivery_id: UUID) -> Response:
        """Return one with all that is known of it."""
        caller = await caller_of(self._services, *ANY_ROLE)
        found = await self._store.delivery(caller.org_id, subscription_id, delivery_id)
        if found is None:
            raise not_found("delivery")
        return json_response(await explained(found, self._services.replica))

    async def redeliver(self, subscription_id: UUID, delivery_id: UUID) -> Response:
        """Have the delivery's event delivered once more."""
        caller = await caller_of(self._services, Role.ORG_ADMIN)
        work = self._store.redeliver(caller.org_id, subscription_id, delivery_id)
        try:
            made = await finish(self._services, work)
        except CannotRedeliver as error:
            raise Problem(409, *_CANNOT[error.reason]) from None
        return await self._due_now(caller.org_id, subscription_id, made)

    async def retry(self, subscription_id: UUID, delivery_id: UUID) -> Response:
        """Have the delivery tried now."""
        caller = await caller_of(self._services, Role.ORG_ADMIN)
        work = self._store.retry_now(caller.org_id, subscription_id, delivery_id)
        try:
            found = await finish(self._services, work)
        except CannotRetry as error:
            raise Problem(409, *_CANNOT[error.reason]) from None
        return await self._due_now(caller.org_id, subscription_id, delivery_id if found else None)

    async def _attempts(self, listing: Listing, subscription_id: UUID, limit: int) -> Response:
        filters, status = listing.filters, listing.filters.get("status")
        wanted = AttemptFilter(
            succeeded=None if status is None else status == "succeeded",
            event_type=filters.get("event_type"),
            since=datetime.fromisoformat(filters["from"]) if "from" in filters else None,
            until=datetime.fromisoformat(filters["to"]) if "to" in filters else None,
        )
        position = listing.position()
        below = None if position is None else UUID(position)
        found = await self._store.attempts(listing.org_id, subscription_id, wanted, limit=limit, below=below)
        if found is None:
            raise not_found("subscription")
        following = listing.cursor(None if found.below is None else str(found.below))
        return page(current_request(), [shown(one) for one in found.attempts], following)

    async def _pending(self, listing: Listing, subscription_id: UUID, limit: int) -> Response:
        position, after = listing.position(), None
        if position is not None:
            due, _, identifier = position.partition(" ")
            after = (datetime.fromisoformat(due), UUID(identifier))
        event_type = listing.filters.get("event_type")
        found = await self._store.pending(
            listing.org_id, subscription_id, event_type, limit=limit, after=after
        )
        if found is None:
            raise not_found("subscription")
        last = None if found.after is None else f"{found.after[0].isoformat()} {found.after[1]}"
        here = [_pending_delivery(one, found.active) for one in found.pending]
        return page(current_request(), here, listing.cursor(last))

    async def _due_now(self, org_id: UUID, subscription_id: UUID, delivery_id: UUID | None) -> Response:
        """Say that a delivery is due now, and what holds it if anything does; None: there is none."""
        if delivery_id is None:
            raise not_found("delivery")
        self._services.claimable()
        found = await self._store.delivery(org_id, subscription_id, delivery_id)
        location = f"/webhooks/{subscription_id}/deliveries/{delivery_id}"
        answer = {"delivery_id": str(delivery_id), "waiting": None if found is None else _waiting(found)}
        return json_response(answer, 202, {"Location": location})


def shown(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as lists show it."""
    following = attempt.next_attempt_at
    return {
        "id": str(attempt.id),
        "delivery_id": str(attempt.delivery_id),
        "event_id": str(attempt.event_id),
        "event_type": attempt.event_type,
        "attempt": attempt.attempt,
        "status": "succeeded" if attempt.succeeded else "failed",
        "response_status": attempt.response_status,
        "error": attempt.error,
        "note": attempt.note,
        "duration_ms": None if attempt.duration_ms is None else round(attempt.duration_ms, 2),
        "attempted_at": rfc3339(attempt.attempted_at),
        "next_attempt_at": None if following is None else rfc3339(following),
    }


async def explained(delivery: Delivery, replica: RequestReplica) -> dict[str, Any]:
    """Return a delivery with its attempts, the requests as they were sent, and what it waits for.

    The URL is that of today, also where an attempt went to another one.
    """
    attempts = []
    for attempt in delivery.attempts:
        await trio.lowlevel.checkpoint()  # signing large bodies again takes milliseconds
        attempts.append(_whole(delivery, attempt, replica))
    status, reason = _status(delivery)
    return {
        "id": str(delivery.id),
        "subscription_id": str(delivery.subscription_id),
        "event_id": str(delivery.event_id),
        "event_type": delivery.event_type,
        "status": status,
        "reason": reason,
        "created_at": rfc3339(uuid7_time(delivery.id)),
        "waiting": _waiting(delivery),
        "body": delivery.body,
        "attempts": attempts,
    }


def _waiting(delivery: Delivery) -> dict[str, Any] | None:
    if delivery.state is None:
        return None
    waits = waiting(delivery.state)
    return {
        "reason": waits.reason.value,
        "until": None if waits.until is None else rfc3339(waits.until),
        "detail": waits.detail,
    }


def _whole(delivery: Delivery, attempt: Attempt, replica: RequestReplica) -> dict[str, Any]:
    headers = replica.headers(delivery, attempt)
    answered = attempt.response_status is not None
    phases = attempt.phases_ms or (None,) * 4
    names = ("dns_ms", "connect_ms", "tls_ms", "first_byte_ms")
    return {
        **shown(attempt),
        "error_detail": None if answered else attempt.excerpt,
        "phases": {
            name: None if value is None else round(value, 2)
            for name, value in zip(names, phases, strict=True)
        },
        "request": None
        if attempt.ended in _NEVER_SENT
        else {
            "method": METHOD,
            "url": delivery.url,
            "headers": None if headers is None else dict(headers),
        },
        "response_headers": _header_fields(attempt.response_headers) if answered else None,
        "response_excerpt": attempt.excerpt if answered else None,
    }


def _header_fields(lines: str | None) -> dict[str, str]:
    fields = (line.partition(": ") for line in (lines or "").split("\n") if line)
    return {name: value for name, _, value in fields}


def _status(delivery: Delivery) -> tuple[str, str | None]:
    """Return how the delivery stands, and why it was given up if it was."""
    state = delivery.state
    if state is not None:
        return _pending(active=state.is_active, leased=state.leased), None
    ended = delivery.attempts[-1].ended if delivery.attempts else None
    return ("succeeded", None) if ended == "succeeded" else ("given_up", ended)


def _pending(*, active: bool, leased: bool) -> str:
    return "pending" if active or leased else "held"


def _pending_delivery(pending: PendingDelivery, active: bool) -> dict[str, Any]:
    return {
        "delivery_id": str(pending.id),
        "event_id": str(pending.event_id),
        "event_type": pending.event_type,
        "attempt": pending.attempt,
        "failures": pending.failures,
        "status": _pending(active=active, leased=pending.leased),
        "due": rfc3339(pending.due),
    }


def _filters(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the filters in the one form that cursors are bound to; raises a 400 `Problem`."""
    filters = {name: arguments[name] for name in ("status", "event_type") if name in arguments}
    status, event_type = filters.get("status"), filters.get("event_type")
    if status is not None and status not in _STATUSES:
        raise _bad(f"Give `status` as one of {', '.join(_STATUSES)}, or leave it out.")
    if event_type is not None and not (
        0 < len(event_type) <= _MAX_TYPE_LENGTH and event_type.isascii() and event_type.isprintable()
    ):
        raise _bad("Give `event_type` as the name of an event type, or leave it out.")
    if event_type is not None and not is_pattern(event_type):
        raise _bad("Give `event_type` as a name, as `match.*` for those that begin so, or leave it out.")
    moments = {name: _moment(name, arguments[name]) for name in ("from", "to") if name in arguments}
    if moments and status == "pending":
        raise _bad("`from` and `to` choose attempts by their time; leave them out with status=pending.")
    if len(moments) == 2 and moments["from"] >= moments["to"]:
        raise _bad("Give a `to` that is later than `from`.")
    return filters | {name: at.isoformat() for name, at in moments.items()}


def _moment(name: str, text: str) -> datetime:
    try:
        at = moment(text)
    except ValueError:
        # In a query, + stands for a space.
        raise _bad(f"`{name}` {ADVICE}; write the + of an offset as %2B.") from None
    return min(max(at, _EPOCH), _LATEST)


def _bad(detail: str) -> Problem:
    return Problem(400, "bad-query", detail)
