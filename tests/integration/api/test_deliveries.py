"""What the paths of deliveries answer, asked by httpx over loopback, with a history in memory."""

# Covers api.paging.

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from daemon.store.history import (
    Attempt,
    AttemptFilter,
    AttemptPage,
    CannotRedeliver,
    CannotRetry,
    Delivery,
    DeliveryState,
    PendingDelivery,
    PendingPage,
    SealedSecret,
)
from daemon.uuid7 import uuid7
from tests.support.api_harness import OTHER_ORG, World, bearer, serving

ADMIN, READER, STRANGER = bearer("org_admin"), bearer("viewer"), bearer("viewer", org=OTHER_ORG)
NOON = datetime(2026, 6, 3, 12, 0, 0, 1500, tzinfo=UTC)
SUBSCRIPTION, EVENT = uuid7(), uuid7()
DELIVERY = uuid7(NOON.timestamp())
LIST = f"/webhooks/{SUBSCRIPTION}/deliveries"
ONE = f"{LIST}/{DELIVERY}"
ATTEMPT = Attempt(
    id=uuid7(),
    delivery_id=DELIVERY,
    event_id=EVENT,
    event_type="match.proposed",
    attempt=1,
    succeeded=False,
    response_status=503,
    error="status_5xx",
    ended=None,
    duration_ms=12.3456,
    attempted_at=NOON,
    next_attempt_at=NOON + timedelta(seconds=5),
    note="lines end without CR",
    phases_ms=(0.123456, 1.0, None, 9.9),
    excerpt="busy",
    response_headers="retry-after: 5",
)
SHOWN = {
    "id": str(ATTEMPT.id),
    "delivery_id": str(DELIVERY),
    "event_id": str(EVENT),
    "event_type": "match.proposed",
    "attempt": 1,
    "status": "failed",
    "response_status": 503,
    "error": "status_5xx",
    "note": "lines end without CR",
    "duration_ms": 12.35,
    "attempted_at": "2026-06-03T12:00:00.001Z",
    "next_attempt_at": "2026-06-03T12:00:05.001Z",
}
STATE = DeliveryState(
    now=NOON,
    due=NOON + timedelta(seconds=5),
    attempt=1,
    failures=1,
    leased=False,
    leased_until=None,
    is_active=True,
    disabled_reason=None,
    ahead=0,
    ordered=False,
    hold_until=None,
    lane_in_flight=0,
    lane_window=1,
    lane_rate=None,
    paced_until=None,
    host_key="https://example.com:443",
    host_in_flight=0,
    host_max_in_flight=64,
    share_in_flight=None,
    host_rate=1000.0,
    host_tokens=1000.0,
    circuit_open=False,
    blocked_until=None,
    catching_up=False,
)
FOUND = Delivery(
    id=DELIVERY,
    subscription_id=SUBSCRIPTION,
    event_id=EVENT,
    event_type="match.proposed",
    body='{"data":1}',
    attempts=[ATTEMPT],
    state=STATE,
    url="https://example.com/hook",
    headers=None,
    secrets=[SealedSecret(b"whsec_c2VjcmV0IHNlY3JldA==", None, None)],
)


@asynccontextmanager
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(world.app()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, headers=READER) as http,
    ):
        yield http


def world_of(**more: Any) -> World:
    world = World()
    for name, value in more.items():
        setattr(world.deliveries, name, value)
    return world


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def test_attempts_are_listed_page_by_page() -> None:
    world = world_of(attempt_page=AttemptPage([ATTEMPT], ATTEMPT.id))
    async with client(world) as http:
        first = await http.get(LIST + "/", params={"limit": 1, "status": "failed", "event_type": "a.b"})
        assert first.status_code == 200, first.text
        assert first.json()["data"] == [SHOWN]
        following = first.links["next"]["url"]
        assert first.json()["next_cursor"] in following
        world.deliveries.attempt_page = AttemptPage([], None)
        last = await http.get(following)
        assert last.json() == {"data": [], "next_cursor": None}
    wanted = AttemptFilter(succeeded=False, event_type="a.b")
    assert world.deliveries.asked == [(wanted, 1, None), (wanted, 1, ATTEMPT.id)]


async def test_a_cursor_leads_nowhere_else() -> None:
    world = world_of(
        attempt_page=AttemptPage([ATTEMPT], ATTEMPT.id), pending_page=PendingPage([], True, None)
    )
    since = {"from": "2026-06-03T12:00:00Z"}
    async with client(world) as http:
        cursor = (await http.get(LIST, params={"status": "failed", **since})).json()["next_cursor"]
        same = {"status": "failed", "cursor": cursor, "from": "2026-06-03T14:00:00+02:00", "limit": 7}
        assert (await http.get(LIST, params=same)).status_code == 200
        elsewhere: list[dict[str, str]] = [
            {},
            {"status": "failed"},
            {"status": "succeeded", **since},
            {"status": "pending"},
            {"status": "failed", "event_type": "match.proposed", **since},
            {"status": "failed", "from": "2026-06-03T12:00:01Z"},
            {"status": "failed", "to": "2026-06-03T12:00:00Z"},
        ]
        for params in elsewhere:
            refused(await http.get(LIST, params={**params, "cursor": cursor}), 400)
        good = {"status": "failed", **since, "cursor": cursor}
        refused(await http.get(LIST, params=good, headers=STRANGER), 400)
        refused(await http.get(f"/webhooks/{uuid7()}/deliveries", params=good), 400)
        refused(await http.get(f"/webhooks/{SUBSCRIPTION}/replays", params={"cursor": cursor}), 400)
        for place in range(0, len(cursor) - 1, 5):
            changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
            refused(await http.get(LIST, params={**good, "cursor": changed}), 400)
        refused(await http.get(LIST, params={**good, "cursor": ""}), 400)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"state": "failed"}, "status"),
        ({"status": "Failed"}, "status"),
        ({"status": ""}, "status"),
        ({"status": ["failed", "failed"]}, "status"),
        ({"event_type": ""}, "event_type"),
        ({"event_type": "x" * 201}, "event_type"),
        ({"event_type": "a\0b"}, "event_type"),
        ({"event_type": "é"}, "event_type"),
        ({"event_type": "match*"}, "match.*"),
        ({"event_type": "*.proposed"}, "match.*"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-06-03"}, "from"),
        ({"to": "2026-06-03T12:00:00"}, "to"),
        ({"to": "2026-02-30T12:00:00Z"}, "to"),
        ({"from": "2026-06-03T12:00:00Z", "to": "2026-06-03T12:00:00Z"}, "to"),
        ({"from": "2026-06-03T12:00:00Z", "status": "pending"}, "from"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "ten"}, "limit"),
    ],
)
async def test_a_bad_query_is_named(params: dict[str, Any], name: str) -> None:
    world = world_of(attempt_page=AttemptPage([], None), pending_page=PendingPage([], True, None))
    async with client(world) as http:
        assert f"`{name}`" in refused(await http.get(LIST, params=params), 400) or name == "status"
    assert world.deliveries.asked == []


async def test_times_far_off_are_taken() -> None:
    world = world_of(attempt_page=AttemptPage([], None))
    async with client(world) as http:
        params = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59.999999Z"}
        assert (await http.get(LIST, params=params)).status_code == 200
        assert (await http.get(LIST, params={"from": "0001-01-01T00:00:00+14:00"})).status_code in (200, 400)


async def test_what_is_owed_is_listed() -> None:
    owed = PendingDelivery(DELIVERY, EVENT, "match.proposed", 2, 1, NOON, False)
    page = PendingPage([owed, replace(owed, leased=True)], False, (NOON, DELIVERY))
    world = world_of(pending_page=page)
    async with client(world) as http:
        answer = await http.get(LIST, params={"status": "pending", "event_type": "match.proposed"})
        held = {
            "delivery_id": str(DELIVERY),
            "event_id": str(EVENT),
            "event_type": "match.proposed",
            "attempt": 2,
            "failures": 1,
            "status": "held",
            "due": "2026-06-03T12:00:00.001Z",
        }
        assert answer.json()["data"] == [held, {**held, "status": "pending"}]
        await http.get(answer.links["next"]["url"])
    assert world.deliveries.asked == [
        ("match.proposed", 50, None),
        ("match.proposed", 50, (NOON, DELIVERY)),
    ]


async def test_what_the_organisation_does_not_have_is_not_found() -> None:
    async with client(World()) as http:
        for path in (LIST, LIST + "?status=pending", ONE, f"/webhooks/x/deliveries/{DELIVERY}"):
            refused(await http.get(path), 404)
        refused(await http.post(ONE + "/redeliver", headers=ADMIN), 404)


async def test_a_delivery_is_explained() -> None:
    world = world_of(found=FOUND)
    async with client(world) as http:
        answer = await http.get(ONE)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    [attempt] = shown.pop("attempts")
    assert shown == {
        "id": str(DELIVERY),
        "subscription_id": str(SUBSCRIPTION),
        "event_id": str(EVENT),
        "event_type": "match.proposed",
        "status": "pending",
        "reason": None,
        "created_at": "2026-06-03T12:00:00.001Z",
        "waiting": {
            "reason": "retry",
            "until": "2026-06-03T12:00:05.001Z",
            "detail": "The last attempt did not succeed; the next one follows the retry schedule, or comes "
            "earlier if its receiver was away and is back.",
        },
        "body": '{"data":1}',
    }
    request = attempt.pop("request")
    assert attempt == {
        **SHOWN,
        "error_detail": None,
        "phases": {"dns_ms": 0.12, "connect_ms": 1.0, "tls_ms": None, "first_byte_ms": 9.9},
        "response_headers": {"retry-after": "5"},
        "response_excerpt": "busy",
    }
    assert (request["method"], request["url"]) == ("POST", "https://example.com/hook")
    assert request["headers"]["webhook-id"] == str(EVENT)
    assert "c2VjcmV0" not in answer.text


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"state": replace(STATE, is_active=False)}, "held", None),
        ({"state": replace(STATE, is_active=False, leased=True)}, "pending", None),
        ({"state": None, "attempts": [replace(ATTEMPT, ended="succeeded")]}, "succeeded", None),
        ({"state": None, "attempts": [ATTEMPT, replace(ATTEMPT, ended="gone")]}, "given_up", "gone"),
    ],
)
async def test_a_delivery_tells_how_it_stands(
    change: dict[str, Any], status: str, reason: str | None
) -> None:
    async with client(world_of(found=replace(FOUND, **change))) as http:
        shown = (await http.get(ONE)).json()
    assert (shown["status"], shown["reason"]) == (status, reason)
    assert (shown["waiting"] is None) == (change["state"] is None)


async def test_what_never_left_shows_no_request() -> None:
    never = replace(
        ATTEMPT,
        ended="expired",
        error="expired",
        response_status=None,
        duration_ms=None,
        phases_ms=None,
        excerpt=None,
    )
    lost = replace(
        ATTEMPT, error="interrupted", response_status=None, duration_ms=None, phases_ms=None, excerpt=None
    )
    refused_one = replace(ATTEMPT, error="connect_refused", response_status=None, excerpt="The host refused.")
    found = replace(FOUND, state=None, attempts=[refused_one, lost, never], body=FOUND.body)
    async with client(world_of(found=found)) as http:
        attempts = (await http.get(ONE)).json()["attempts"]
    assert attempts[0]["request"]["headers"]["webhook-id"] == str(EVENT)
    assert (attempts[0]["error_detail"], attempts[0]["response_excerpt"]) == ("The host refused.", None)
    assert attempts[1]["request"]["headers"] is None
    assert attempts[2]["request"] is None
    assert set(attempts[2]["phases"].values()) == {None}


async def test_redelivery_is_for_admins_and_wakes_the_claimer() -> None:
    made = uuid7()
    world = world_of(made=made)
    async with client(world) as http:
        refused(await http.post(ONE + "/redeliver"), 403)
        assert world.due == 0
        answer = await http.post(ONE + "/redeliver/", headers=ADMIN)
        assert (answer.status_code, answer.json()) == (202, {"delivery_id": str(made), "waiting": None})
        assert answer.headers["location"] == f"{LIST}/{made}"
        assert world.due == 1
        for reason, word in (("expired", "older"), ("unrepresentable", "no form")):
            world.deliveries.refusal = CannotRedeliver(reason)
            assert word in refused(await http.post(ONE + "/redeliver", headers=ADMIN), 409)
        refused(await http.get(ONE + "/redeliver", headers=ADMIN), 405)
        refused(await http.delete(ONE, headers=ADMIN), 405)


async def test_a_retry_is_for_admins_and_says_what_holds_it() -> None:
    world = world_of(found=FOUND)
    async with client(world) as http:
        refused(await http.post(ONE + "/retry"), 403)
        answer = await http.post(ONE + "/retry", headers=ADMIN)
        shown = (await http.get(ONE)).json()
        assert (answer.status_code, answer.json()) == (
            202,
            {"delivery_id": shown["id"], "waiting": shown["waiting"]},
        )
        assert answer.headers["location"] == ONE
        assert world.due == 1
        for reason, word in (("sending", "at this moment"), ("ended", "redeliver")):
            world.deliveries.refusal = CannotRetry(reason)
            assert word in refused(await http.post(ONE + "/retry", headers=ADMIN), 409)
        world.deliveries.refusal = world.deliveries.found = None
        refused(await http.post(ONE + "/retry", headers=ADMIN), 404)


async def test_a_large_body_is_shown_whole() -> None:
    body = json.dumps({"data": "x" * 1_000_000})
    attempts = [replace(ATTEMPT, id=uuid7()) for _ in range(5)]
    async with client(world_of(found=replace(FOUND, body=body, attempts=attempts))) as http:
        shown = (await http.get(ONE)).json()
    assert shown["body"] == body
    assert len({one["request"]["headers"]["X-Alter-Signature"] for one in shown["attempts"]}) == 1
    assert UUID(shown["id"]) == DELIVERY
