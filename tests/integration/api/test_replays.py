"""Replays over the API: what may be asked for, and by whom."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from daemon.rfc3339 import rfc3339
from daemon.store.replays import NoSubscription, SelectionTooSlow, StillFinding, TooManyEvents, TooManyReplays
from daemon.uuid7 import uuid7
from tests.support.api_harness import OTHER_ORG, World, bearer, serving

HOUR_AGO = rfc3339(datetime.now(UTC) - timedelta(hours=1))
TOMORROW = rfc3339(datetime.now(UTC) + timedelta(days=1))
ADMIN = bearer("org_admin")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(world.app()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, headers=ADMIN) as opened,
    ):
        yield opened


async def registered(client: httpx.AsyncClient) -> str:
    """Register a subscription and return the path of it."""
    answer = await client.post("/webhooks", json={"url": "https://one.example/", "events": ["*"]})
    assert answer.status_code == 201, answer.text
    return f"/webhooks/{answer.json()['id']}"


async def test_a_replay_is_asked_for_read_listed_and_cancelled(
    client: httpx.AsyncClient, world: World
) -> None:
    path = await registered(client)
    answer = await client.post(
        f"{path}/replay/",
        json={
            "from": "2026-03-10T10:00:00+02:00",
            "to": "2026-03-10t09:00:00.123456z",
            "only_failed": True,
            "events": ["placement.*", "match.proposed"],
        },
    )
    assert answer.status_code == 202
    shown = answer.json()
    assert answer.headers["location"] == f"{path}/replays/{shown['id']}"
    assert (shown.pop("dry_run"), shown.pop("count")) == (False, 7)
    assert {**shown, "id": None, "created_at": None} == {
        "id": None,
        "subscription_id": path.removeprefix("/webhooks/"),
        "status": "running",
        "total": 7,
        "queued": 0,
        "skipped": 0,
        "remaining": 7,
        "created_at": None,
        "ended_at": None,
    }
    [selection] = world.replays.asked
    assert selection.since == datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert selection.until == datetime(2026, 3, 10, 9, 0, 0, 123456, tzinfo=UTC)
    assert selection.only_failed
    assert selection.patterns == ["placement.*", "match.proposed"]

    reader = bearer("viewer")
    assert (await client.get(answer.headers["location"], headers=reader)).json() == shown
    listed = (await client.get(f"{path}/replays", headers=reader)).json()
    assert listed == {"data": [shown], "next_cursor": None}
    cancelled = await client.post(f"{answer.headers['location']}/cancel")
    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["remaining"]) == ("cancelled", 0)
    assert cancelled.json()["ended_at"] is not None
    again = await client.post(f"{answer.headers['location']}/cancel")
    assert (again.status_code, again.json()) == (200, cancelled.json())


async def test_a_dry_run_only_counts(client: httpx.AsyncClient, world: World) -> None:
    path = await registered(client)
    answer = await client.post(f"{path}/replay", json={"from": HOUR_AGO, "dry_run": True})
    assert (answer.status_code, answer.json()) == (200, {"dry_run": True, "count": 7})
    assert not world.replays.kept
    [selection] = world.replays.asked
    assert (selection.only_failed, selection.patterns) == (False, None)
    assert datetime.now(UTC) - selection.until < timedelta(minutes=1)


async def test_the_list_goes_page_by_page(client: httpx.AsyncClient) -> None:
    path, other = await registered(client), await registered(client)
    made = [(await client.post(f"{path}/replay", json={"from": HOUR_AGO})).json()["id"] for _ in range(5)]
    await client.post(f"{other}/replay", json={"from": HOUR_AGO})
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(f"{path}/replays", params=query)).json()
        assert len(page["data"]) <= 2
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor:
            stolen = await client.get(f"{other}/replays", params={"cursor": cursor})
            assert (stolen.status_code, stolen.json()["type"]) == (400, "urn:hookd:problem:bad-cursor")
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/from"]),
        ({"from": None}, ["/from"]),
        ({"from": 1773136800}, ["/from"]),
        ({"from": "yesterday"}, ["/from"]),
        ({"from": "2026-03-10"}, ["/from"]),
        ({"from": "2026-03-10T10:00:00"}, ["/from"]),
        ({"from": "2026-02-30T10:00:00Z"}, ["/from"]),
        ({"from": "0001-01-01T00:00:00+23:59"}, ["/from"]),
        ({"from": "\uff12\uff10\uff12\uff16-03-10T10:00:00Z"}, ["/from"]),
        ({"from": "2026-03-10T10:00:00Z" + " " * 100}, ["/from"]),
        ({"from": TOMORROW}, ["/from"]),
        ({"from": HOUR_AGO, "to": TOMORROW}, ["/to"]),
        ({"from": TOMORROW, "to": "never"}, ["/from", "/to"]),
        ({"from": HOUR_AGO, "to": HOUR_AGO}, ["/to"]),
        ({"from": HOUR_AGO, "to": "2020-01-01T00:00:00Z"}, ["/to"]),
        ({"from": HOUR_AGO, "only_failed": "true"}, ["/only_failed"]),
        ({"from": HOUR_AGO, "dry_run": 1}, ["/dry_run"]),
        ({"from": HOUR_AGO, "events": []}, ["/events"]),
        ({"from": HOUR_AGO, "events": "*"}, ["/events"]),
        ({"from": HOUR_AGO, "events": ["*", 5]}, ["/events/1"]),
        ({"from": HOUR_AGO, "events": ["*"] * 101}, ["/events"]),
        ({"from": HOUR_AGO, "events": ["placement.made", "*", "nothing.*"]}, ["/events/0", "/events/2"]),
        ({"from": HOUR_AGO, "since": HOUR_AGO}, ["/since"]),
        ([], [""]),
        ("2026-03-10T10:00:00Z", [""]),
    ],
)
async def test_a_bad_body_is_refused_where_it_is_bad(
    client: httpx.AsyncClient, world: World, body: Any, pointers: list[str]
) -> None:
    path = await registered(client)
    answer = await client.post(f"{path}/replay", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert all(error["detail"] for error in answer.json()["errors"])
    assert not world.replays.kept


async def test_a_type_that_is_not_configured_any_more_can_be_replayed(
    client: httpx.AsyncClient, world: World
) -> None:
    path = await registered(client)
    for body in ({"only_failed": True}, {"dry_run": True}):
        wanted = {"from": HOUR_AGO, "events": ["order.paid", "match.proposed"], **body}
        assert (await client.post(f"{path}/replay", json=wanted)).status_code == 422
        world.replays.types_of_old = ["order.paid"]
        answer = await client.post(f"{path}/replay", json=wanted)
        assert answer.status_code in (200, 202), answer.text
        assert world.replays.asked[-1].patterns == wanted["events"]
        world.replays.types_of_old = ()


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"from": "\xff"}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b'{"from": "' + b"x" * 20_000 + b'"}', "application/json", 413),
        (b'{"from": [[[[1]]]]}', "application/json", 422),
    ],
)
async def test_what_is_no_json_is_refused(
    client: httpx.AsyncClient, content: bytes, media_type: str, status: int
) -> None:
    path = await registered(client)
    answer = await client.post(f"{path}/replay", content=content, headers={"content-type": media_type})
    assert answer.status_code == status, answer.text


async def test_a_clock_that_is_a_little_ahead_does_no_harm(client: httpx.AsyncClient, world: World) -> None:
    path = await registered(client)
    ahead = rfc3339(datetime.now(UTC) + timedelta(seconds=30))
    answer = await client.post(f"{path}/replay", json={"from": "1600-01-01T00:00:00Z", "to": ahead})
    assert answer.status_code == 202
    [selection] = world.replays.asked
    assert selection.until <= datetime.now(UTC)
    assert selection.since == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (NoSubscription(), 404),
        (TooManyReplays(3), 409),
        (TooManyReplays(20, "organisation"), 409),
        (TooManyEvents(1_000_000), 422),
        (StillFinding(), 409),
        (SelectionTooSlow(), 503),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_the_store_refuses_is_told(
    client: httpx.AsyncClient, world: World, refusal: Exception, status: int, dry_run: bool
) -> None:
    path = await registered(client)
    world.replays.refusal = refusal
    answer = await client.post(f"{path}/replay", json={"from": HOUR_AGO, "dry_run": dry_run})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 422:
        [error] = answer.json()["errors"]
        assert error["pointer"] == "/from"
        assert "narrow the range" in error["detail"]
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_only_an_admin_of_the_organisation_may_replay(client: httpx.AsyncClient, world: World) -> None:
    path = await registered(client)
    asked = (await client.post(f"{path}/replay", json={"from": HOUR_AGO})).headers["location"]
    body = {"from": HOUR_AGO}
    for headers, status in ((bearer("publisher"), 403), (bearer("org_admin", org=OTHER_ORG), 404)):
        assert (await client.post(f"{path}/replay", json=body, headers=headers)).status_code == status
        assert (await client.post(f"{asked}/cancel", headers=headers)).status_code == status
    stranger = bearer("org_admin", org=OTHER_ORG)
    assert (await client.get(asked, headers=stranger)).status_code == 404
    assert (await client.get(f"{path}/replays", headers=stranger)).status_code == 404
    nobody = {"Authorization": ""}
    assert (await client.post(f"{path}/replay", json=body, headers=nobody)).status_code == 401
    assert (await client.get(asked, headers=nobody)).status_code == 401
    assert (await client.get(f"{path}/replays/{uuid4()}")).status_code == 404
    assert (await client.post(f"{path}/replays/{uuid4()}/cancel")).status_code == 404
    assert (await client.get(f"{path}/replays/nonsense")).status_code == 404
    assert (await client.post(f"/webhooks/{uuid7()}/replay", json=body)).status_code == 404
    assert (await client.get(f"/webhooks/{uuid7()}/replays")).status_code == 404
    [replay_id] = world.replays.kept
    assert world.replays.kept[replay_id][1].status == "running"
