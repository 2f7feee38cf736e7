"""Replays: past events once more to one subscription, and the backfill of a new one."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import ANY_ROLE, caller_of
from api.bodies import pointer
from api.cursors import page_limit
from api.event_types import pattern_refusal
from api.json_request import json_request
from api.paging import Listing, newest_first, query
from api.problems import FieldError, Problem, invalid, not_found
from api.quart_app import current_request, json_response
from api.services import Services
from api.timestamps import ADVICE, moment
from daemon.model import Role
from daemon.rfc3339 import rfc3339
from daemon.store.replays import (
    NoSubscription,
    Replay,
    ReplayRefused,
    Selection,
    StillFinding,
    TooManyEvents,
    TooManyReplays,
)
from daemon.store.subscriptions import Subscription

_LISTING = "replays"
_MAX_BODY = 16 * 1024  # bytes
_MAX_DEPTH = 3
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LEEWAY = timedelta(minutes=1)  # by which a client's clock may be ahead


class ReplayRequest(BaseModel):
    """Which past events a subscription is to be sent."""

    model_config = ConfigDict(strict=True, extra="forbid")

    since: Annotated[
        str,
        Field(
            alias="from",
            max_length=64,
            description="Events of this time or later.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    until: Annotated[
        Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None,
        Field(alias="to", description="Events before this time; now, if left out."),
    ] = None
    only_failed: Annotated[
        bool, Field(description="Only events of which a delivery to the subscription was given up.")
    ] = False
    events: Annotated[
        Annotated[list[str], Field(min_length=1, max_length=100)] | None,
        Field(
            description="Only events of these types; patterns as in a subscription. Also types that are not "
            "configured any more."
        ),
    ] = None
    dry_run: Annotated[bool, Field(description="Count the events and send none.")] = False


_REQUEST = TypeAdapter(ReplayRequest)


def blueprint(services: Services) -> Blueprint:
    """Return the routes of replays under /webhooks/{subscription_id}."""
    routes = Blueprint("replays", __name__, url_prefix="/webhooks/<uuid:subscription_id>")
    replays = ReplayRequests(services)
    routes.post("/replay")(replays.replay)
    routes.get("/replays")(replays.listing)
    routes.get("/replays/<uuid:replay_id>")(replays.one)
    routes.post("/replays/<uuid:replay_id>/cancel")(replays.cancel)
    return routes


class ReplayRequests:
    """What may be asked of a subscription's replays."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.replays

    async def replay(self, subscription_id: UUID) -> Response:
        """Begin one, or count what it would send."""
        services = self._services
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = await json_request(_REQUEST, limit=_MAX_BODY, max_depth=_MAX_DEPTH)
        chosen = selection(wanted, datetime.fromtimestamp(services.now(), UTC))
        if (await self._subscription(caller.org_id, subscription_id)).extras.filter_problem is not None:
            raise _filter_failed()
        which = {"org_id": caller.org_id, "subscription_id": subscription_id}
        try:
            await self._refuse_unknown(caller.org_id, subscription_id, chosen)
            if wanted.dry_run:
                count = await self._store.count(**which, selection=chosen)
                return json_response({"dry_run": True, "count": count})
            asked = await self._store.ask(replay_id=services.new_id(), **which, selection=chosen)
        except ReplayRefused as error:
            raise _refused(error) from None
        location = f"/webhooks/{subscription_id}/replays/{asked.id}"
        document = {"dry_run": False, "count": asked.total, **shown(asked)}
        return json_response(document, 202, {"Location": location})

    async def listing(self, subscription_id: UUID) -> Response:
        """Return those of a subscription."""
        caller = await caller_of(self._services, *ANY_ROLE)
        limit = page_limit(query(current_request(), ("limit", "cursor")).get("limit"))
        scope = {"subscription": str(subscription_id)}
        listing = Listing(self._services.cursors, _LISTING, caller.org_id, scope)
        listing.position()  # a bad cursor is told of before a missing subscription
        await self._subscription(caller.org_id, subscription_id)
        fetch = partial(self._store.page, caller.org_id, subscription_id)
        return await newest_first(listing, limit, fetch, shown)

    async def one(self, subscription_id: UUID, replay_id: UUID) -> Response:
        """Return one and how far it is."""
        caller = await caller_of(self._services, *ANY_ROLE)
        found = await self._store.get(caller.org_id, subscription_id, replay_id)
        if found is None:
            raise not_found("replay")
        return json_response(shown(found))

    async def cancel(self, subscription_id: UUID, replay_id: UUID) -> Response:
        """End one and give up what it still owes."""
        caller = await caller_of(self._services, Role.ORG_ADMIN)
        ended = await self._store.cancel(caller.org_id, subscription_id, replay_id)
        if ended is None:
            raise not_found("replay")
        return json_response(shown(ended))

    async def _subscription(self, org_id: UUID, subscription_id: UUID) -> Subscription:
        found = await self._services.subscriptions.get(org_id, subscription_id)
        if found is None:
            raise not_found("subscription")
        return found

    async def _refuse_unknown(self, org_id: UUID, subscription_id: UUID, chosen: Selection) -> None:
        """Raise a 422 `Problem` for types that are not configured, unless there are events of them."""
        known = self._services.settings().event_types
        patterns = chosen.patterns or ()
        refusals = {index: pattern_refusal(pattern, known) for index, pattern in enumerate(patterns)}
        unknown = {index: refusal for index, refusal in refusals.items() if refusal is not None}
        if not unknown:
            return
        old = replace(chosen, patterns=[patterns[index] for index in unknown], only_failed=False)
        with suppress(TooManyEvents):
            if not await self._store.count(org_id=org_id, subscription_id=subscription_id, selection=old):
                raise invalid([FieldError(pointer("events", at), why) for at, why in unknown.items()])


def _filter_failed() -> Problem:
    return Problem(
        409,
        "filter-failed",
        "The subscription's filter is not evaluated, see its filter_problem; change it, then replay.",
    )


def shown(replay: Replay) -> dict[str, Any]:
    """Return a replay as the API shows it."""
    return {
        "id": str(replay.id),
        "subscription_id": str(replay.subscription_id),
        "status": replay.status,
        "total": replay.total,
        "queued": replay.queued,
        "skipped": replay.skipped,
        "remaining": replay.total - replay.queued - replay.skipped,
        "created_at": rfc3339(replay.created_at),
        "ended_at": None if replay.ended_at is None else rfc3339(replay.ended_at),
    }


def selection(wanted: ReplayRequest, now: datetime) -> Selection:
    """Return what is asked for at `now`; raises one 422 `Problem` that names all that is wrong with it."""
    errors: list[FieldError] = []

    def read(name: str, text: str) -> datetime | None:
        try:
            at = moment(text)
        except ValueError:
            errors.append(FieldError(pointer(name), ADVICE))
            return None
        if at > now + _LEEWAY:
            errors.append(FieldError(pointer(name), "is in the future; give a time in the past"))
            return None
        return max(at, _EARLIEST)

    since = read("from", wanted.since)
    until = now if wanted.until is None else read("to", wanted.until)
    if since is not None and until is not None and since >= until:
        if wanted.until is None:
            errors.append(FieldError(pointer("from"), "is not in the past; give a time before now"))
        else:
            errors.append(FieldError(pointer("to"), "is not after `from`; give a later time"))
    if errors or since is None or until is None:
        raise invalid(errors)
    return Selection(since, min(until, now), wanted.only_failed, wanted.events)


def _refused(error: ReplayRefused) -> Problem:
    if isinstance(error, NoSubscription):
        return not_found("subscription")
    if isinstance(error, TooManyReplays):
        return Problem(
            409,
            "too-many-replays",
            f"{error.limit} replays of the {error.whose} run already, the most at once; "
            "wait until one is done, or cancel one.",
        )
    if isinstance(error, StillFinding):
        return Problem(
            409,
            "too-many-replays",
            "The events of another replay of your organisation are being found at this moment; ask again "
            "when that request has been answered.",
        )
    if isinstance(error, TooManyEvents):
        advice = f"selects more than {error.limit:,} events, the most for one replay; narrow the range"
        return invalid([FieldError(pointer("from"), advice)])
    return Problem(
        503,
        "unavailable",
        "Finding the events took too long, and nothing is replayed; narrow the range between `from` and "
        "`to`, or try again when there is less to do.",
        headers={"Retry-After": "60"},
    )
