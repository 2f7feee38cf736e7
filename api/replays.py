"""Replays: past events once more to one subscription, and the backfill of a new one."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import ANY_ROLE, caller_of
from api.bodies import pointer, read_json, validated
from api.cursors import page_limit
from api.event_types import pattern_refusal
from api.paging import page, query
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

    async def known(org_id: UUID, subscription_id: UUID) -> Subscription:
        found = await services.subscriptions.get(org_id, subscription_id)
        if found is None:
            raise not_found("subscription")
        return found

    @routes.post("/replay")
    async def replay(subscription_id: UUID) -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        request = current_request()
        value = await read_json(request.incoming, request.headers, limit=_MAX_BODY, max_depth=_MAX_DEPTH)
        wanted = validated(_REQUEST, value)
        chosen = selection(wanted, datetime.fromtimestamp(services.now(), UTC))
        if (await known(caller.org_id, subscription_id)).extras.filter_problem is not None:
            raise _filter_failed()
        try:
            await refuse_unknown(caller.org_id, subscription_id, chosen)
            if wanted.dry_run:
                count = await services.replays.count(
                    org_id=caller.org_id, subscription_id=subscription_id, selection=chosen
                )
                return json_response({"dry_run": True, "count": count})
            asked = await services.replays.ask(
                replay_id=services.new_id(),
                org_id=caller.org_id,
                subscription_id=subscription_id,
                selection=chosen,
            )
        except ReplayRefused as error:
            raise _refused(error) from None
        location = f"/webhooks/{subscription_id}/replays/{asked.id}"
        document = {"dry_run": False, "count": asked.total, **shown(asked)}
        return json_response(document, 202, {"Location": location})

    async def refuse_unknown(org_id: UUID, subscription_id: UUID, chosen: Selection) -> None:
        """Raise a 422 `Problem` for types that are not configured, unless there are events of them."""
        known = services.settings().event_types
        unknown = {
            pattern: refusal
            for pattern in chosen.patterns or ()
            if (refusal := pattern_refusal(pattern, known)) is not None
        }
        if not unknown:
            return
        old = replace(chosen, patterns=list(unknown), only_failed=False)
        with suppress(TooManyEvents):
            if not await services.replays.count(
                org_id=org_id, subscription_id=subscription_id, selection=old
            ):
                raise invalid(
                    [
                        FieldError(pointer("events", index), unknown[pattern])
                        for index, pattern in enumerate(chosen.patterns or ())
                        if pattern in unknown
                    ]
                )

    @routes.get("/replays")
    async def listing(subscription_id: UUID) -> Response:
        caller = await caller_of(services, *ANY_ROLE)
        request = current_request()
        arguments = query(request, ("limit", "cursor"))
        limit, cursor = page_limit(arguments.get("limit")), arguments.get("cursor")
        filters = {"subscription": str(subscription_id)}
        before = None
        if cursor is not None:
            position = services.cursors.read(cursor, org_id=caller.org_id, listing=_LISTING, filters=filters)
            before = UUID(position)
        await known(caller.org_id, subscription_id)
        # One more than asked for tells whether there is another page.
        found = await services.replays.page(caller.org_id, subscription_id, limit=limit + 1, before=before)
        here, following = found[:limit], None
        if len(found) > limit:
            last = str(here[-1].id)
            following = services.cursors.write(last, org_id=caller.org_id, listing=_LISTING, filters=filters)
        return page(request, [shown(item) for item in here], following)

    @routes.get("/replays/<uuid:replay_id>")
    async def one(subscription_id: UUID, replay_id: UUID) -> Response:
        caller = await caller_of(services, *ANY_ROLE)
        found = await services.replays.get(caller.org_id, subscription_id, replay_id)
        if found is None:
            raise not_found("replay")
        return json_response(shown(found))

    @routes.post("/replays/<uuid:replay_id>/cancel")
    async def cancel(subscription_id: UUID, replay_id: UUID) -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        ended = await services.replays.cancel(caller.org_id, subscription_id, replay_id)
        if ended is None:
            raise not_found("replay")
        return json_response(shown(ended))

    return routes


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
