"""What each path of the API answers, asked by httpx over loopback."""

# Covers api.events, api.health, api.new_event, api.publishing, api.signing_secrets, api.webhooks.

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import trio

from api.connection import ServerLimits
from api.services import ApiSettings, Check
from daemon.signing.canonical import parse
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from tests.support.api_harness import ORG, OTHER_ORG, TYPES, World, bearer, request, serving, token

ADMIN = bearer("org_admin")
READER = bearer("viewer")
PUBLISHER = bearer("publisher")
PLATFORM = bearer("platform")
REGISTRATION = {"url": "https://example.com/hook", "events": ["match.proposed"]}
NOBODY = dict.fromkeys(("", "owner", "viewer", "publisher", "org_admin", "platform"), 403)
EVENT = {"type": "match.proposed", "data": {"b": 1, "a": [1.5, None]}}


@asynccontextmanager
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(world.app()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        yield http


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of an answer that must have `status`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:hookd:problem:")
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in problem(answer, 422)["errors"]]


# Registering.


async def test_registering_shows_a_generated_secret_once() -> None:
    world = World()
    async with client(world) as http:
        answer = await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN)
        assert answer.status_code == 201
        made = answer.json()
        secret = made.pop("secret")
        identifier = UUID(made["id"])
        assert answer.headers["location"] == f"/webhooks/{identifier}"
        assert made == {
            "id": str(identifier),
            "org_id": str(ORG),
            "url": "https://example.com/hook",
            "events": ["match.proposed"],
            "is_active": True,
            "failure_count": 0,
            "created_at": made["created_at"],
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["created_at"])
        assert identifier.version == 7
        assert secret == world.subscriptions.secrets[identifier]
        assert secret.startswith("whsec_")
        assert world.subscriptions.host_keys[identifier] == "https://example.com:443"
        shown = await http.get(answer.headers["location"], headers=READER)
        assert shown.json() == made
        listed = await http.get("/webhooks/", headers=READER)
        assert listed.json() == {"data": [made], "next_cursor": None}


async def test_a_secret_that_was_brought_is_kept_and_not_shown() -> None:
    world = World()
    async with client(world) as http:
        given = {**REGISTRATION, "secret": "whsec_abc123..."}
        answer = await http.post("/webhooks", json=given, headers=ADMIN)
        assert answer.status_code == 201
        assert "secret" not in answer.json()
        assert list(world.subscriptions.secrets.values()) == ["whsec_abc123..."]
        [warned] = answer.json()["warnings"]
        assert warned["pointer"] == "/secret"
        assert "not base64" in warned["detail"]
        rotated = await http.post(
            f"/webhooks/{answer.json()['id']}/rotate-secret",
            json={"secret": "whsec_QUJDREVGR0g="},
            headers=ADMIN,
        )
        assert "8 bytes" in rotated.json()["warnings"][0]["detail"]


@pytest.mark.parametrize(
    "secret", [" whsec_abcdefgh", "whsec_abcdefgh ", "whsec_8-_wAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY"]
)
async def test_a_secret_that_is_hardly_meant_is_refused(secret: str) -> None:
    async with client(World()) as http:
        answer = await http.post("/webhooks", json={**REGISTRATION, "secret": secret}, headers=ADMIN)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["pointer"] == "/secret"
        assert secret.strip().removeprefix("whsec_") not in error["detail"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"url": "http://example.com/"}, ["/url"]),
        ({"url": "https://user:pw@example.com/"}, ["/url"]),
        ({"url": 7}, ["/url"]),
        ({"url": "https://example.com/" + "x" * 2048}, ["/url"]),
        ({"events": []}, ["/events"]),
        ({"events": ["match.proposed"] * 101}, ["/events"]),
        ({"events": "match.proposed"}, ["/events"]),
        ({"events": ["match.proposed", "match.propsed", 3]}, ["/events/2"]),
        ({"events": ["match.proposed", "match.propsed"]}, ["/events/1"]),
        ({"events": ["nothing.*"]}, ["/events/0"]),
        ({"events": ["match.*.x", "match*"]}, ["/events/0", "/events/1"]),
        ({"secret": "short"}, ["/secret"]),
        ({"secret": 1}, ["/secret"]),
        ({"is_active": "no"}, ["/is_active"]),
        ({"signature": "rsa"}, ["/signature"]),
        ({"retry_schedule": [5, 0.5, "1m"]}, ["/retry_schedule/2"]),
        ({"retry_schedule": [5, 0.5]}, ["/retry_schedule/1"]),
        ({"url": "ftp://x", "events": ["x"], "secret": "x"}, ["/url", "/events/0", "/secret"]),
    ],
)
async def test_bad_fields_are_named(change: dict[str, Any], expected: list[str]) -> None:
    world = World()
    async with client(world) as http:
        answer = await http.post("/webhooks/", json={**REGISTRATION, **change}, headers=ADMIN)
        assert pointers(answer) == expected
        assert "short" not in answer.text
        assert not world.subscriptions.kept


async def test_an_unknown_type_comes_with_the_nearest_known_one() -> None:
    async with client(World()) as http:
        given = {**REGISTRATION, "events": ["match.propsed", "placment.*"]}
        first, second = problem(await http.post("/webhooks/", json=given, headers=ADMIN), 422)["errors"]
        assert '"match.proposed"' in first["detail"]
        assert '"placement.*"' in second["detail"]


async def test_patterns_are_taken_and_repeats_dropped() -> None:
    async with client(World()) as http:
        given = {**REGISTRATION, "events": ["*", "placement.*", "*", "match.proposed"]}
        answer = await http.post("/webhooks/", json=given, headers=ADMIN)
        assert answer.json()["events"] == ["*", "placement.*", "match.proposed"]


async def test_too_many_subscriptions_get_409() -> None:
    world = World()
    world.subscriptions.limit = 0
    async with client(world) as http:
        answer = await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN)
        assert problem(answer, 409)["type"] == "urn:hookd:problem:too-many-subscriptions"


# Who may do what.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/", {**NOBODY, "org_admin": 201}),
        ("GET", "/webhooks/", {**NOBODY, "viewer": 200, "org_admin": 200, "publisher": 200, "platform": 200}),
        ("GET", "/webhooks/events", dict.fromkeys(NOBODY, 200)),
        ("POST", "/events", {**NOBODY, "publisher": 202, "platform": 202}),
    ],
)
async def test_each_path_asks_for_its_role(method: str, path: str, status: dict[str, int]) -> None:
    async with client(World()) as http:
        body = EVENT if path == "/events" else REGISTRATION
        for role, expected in status.items():
            headers = bearer(*([role] if role else []))
            answer = await http.request(method, path, json=body, headers=headers)
            assert answer.status_code == expected, (role, answer.text)
            if expected == 403:
                problem(answer, 403)
                assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        nobody = await http.request(method, path, json=body)
        problem(nobody, 401)
        assert nobody.headers["www-authenticate"] == 'Bearer realm="hookd"'
        stranger = await http.request(method, path, json=body, headers={"Authorization": "Bearer a.b.c"})
        problem(stranger, 401)
        assert 'error="invalid_token"' in stranger.headers["www-authenticate"]


async def test_two_authorization_headers_are_refused() -> None:
    async with client(World()) as http:
        headers = [("Authorization", f"Bearer {token('org_admin')}")] * 2
        problem(await http.get("/webhooks/", headers=headers), 401)


async def test_another_organisations_subscription_is_not_found() -> None:
    async with client(World()) as http:
        made = (await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN)).json()
        stranger = bearer("org_admin", org=OTHER_ORG)
        hidden = problem(await http.get(f"/webhooks/{made['id']}", headers=stranger), 404)
        absent = problem(await http.get(f"/webhooks/{uuid4()}", headers=stranger), 404)
        assert {**hidden, "request_id": ""} == {**absent, "request_id": ""}
        assert (await http.get("/webhooks/", headers=stranger)).json()["data"] == []


# Lists.


async def test_pages_walk_the_list_newest_first() -> None:
    async with client(World()) as http:
        made = []
        for number in range(5):
            given = {**REGISTRATION, "url": f"https://example.com/{number}"}
            made.append((await http.post("/webhooks/", json=given, headers=ADMIN)).json()["id"])
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = (await http.get("/webhooks/", params=query, headers=READER)).json()
            seen += [item["id"] for item in page["data"]]
            cursor = page["next_cursor"]
        assert seen == sorted(made, reverse=True)


async def test_a_cursor_is_good_for_its_own_organisation_only() -> None:
    async with client(World()) as http:
        for _ in range(2):
            await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN)
        first = await http.get("/webhooks/", params={"limit": 1}, headers=READER)
        cursor = first.json()["next_cursor"]
        query = {"limit": 1, "cursor": cursor}
        assert (await http.get("/webhooks/", params=query, headers=READER)).status_code == 200
        stranger = bearer("viewer", org=OTHER_ORG)
        problem(await http.get("/webhooks/", params=query, headers=stranger), 400)
        forged = {"limit": 1, "cursor": ("B" if cursor[0] == "A" else "A") + cursor[1:]}
        problem(await http.get("/webhooks/", params=forged, headers=READER), 400)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", "", "٣", "1" * 5000])
async def test_a_limit_outside_1_to_100_gets_400(limit: str) -> None:
    async with client(World()) as http:
        problem(await http.get("/webhooks/", params={"limit": limit}, headers=READER), 400)


async def test_event_types_are_listed() -> None:
    async with client(World()) as http:
        assert (await http.get("/webhooks/events", headers=READER)).json() == {"events": list(TYPES)}


# Publishing.


async def test_one_event_is_published_in_its_canonical_form() -> None:
    world = World()
    async with client(world) as http:
        given = {**EVENT, "key": "k", "deliver_after": "2030-01-01T02:00:00+02:00"}
        answer = await http.post("/events", json=given, headers=PUBLISHER)
        assert answer.status_code == 202
        [event] = world.events.published
        assert answer.json() == {"id": str(event.id)}
        assert (event.org_id, event.type, event.key) == (ORG, "match.proposed", "k")
        assert event.deliver_after == datetime(2030, 1, 1, tzinfo=UTC)
        body = parse(event.body, max_depth=10)
        assert isinstance(body, dict)
        assert body["id"] == str(event.id)
        assert event.body.startswith('{"data":{"a":[1.5,null],"b":1},"id":"')
        assert world.wakes == 1
        again = await http.post("/events", json=given, headers=PUBLISHER)
        assert again.json() == {"id": str(event.id)}
        assert len(world.events.published) == 1


async def test_many_events_are_published_in_order() -> None:
    world = World()
    async with client(world) as http:
        given = [{**EVENT, "data": number} for number in range(120)]
        answer = await http.post("/events", json=given, headers=PUBLISHER)
        assert answer.status_code == 202
        assert answer.json()["ids"] == [str(event.id) for event in world.events.published]
        assert len(world.events.published) == 120


async def test_of_a_bad_batch_nothing_is_published() -> None:
    world = World()
    async with client(world) as http:
        given = [EVENT, {**EVENT, "type": "match.propsed"}, {**EVENT, "deliver_after": "tomorrow"}]
        answer = await http.post("/events", json=given, headers=PUBLISHER)
        assert pointers(answer) == ["/1/type", "/2/deliver_after"]
        assert '"match.proposed"' in answer.json()["errors"][0]["detail"]
        assert (world.events.published, world.wakes) == ([], 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"type": "match.proposed", "data": "\\u0000"}', ["/data"]),
        ('{"type": "match.proposed", "data": {"a": ["\\ud800"]}}', ["/data/a/0"]),
        ('{"type": "match.proposed", "data": [1e999]}', ["/data/0"]),
        ('{"type": "match.proposed", "data": [0.0, 1e-400]}', ["/data/1"]),
        ('[{"type": "match.proposed", "data": 1}, {"type": "match.proposed", "data": NaN}]', ["/1/data"]),
        ('{"type": "match.proposed"}', ["/data"]),
        ('{"data": 1}', ["/type"]),
        ('{"type": "match.proposed", "data": 1, "dta": 1}', ["/dta"]),
        ('{"type": null, "data": 1}', ["/type"]),
        ('{"type": "match.proposed", "data": 1, "key": ""}', ["/key"]),
        ('{"type": "match.proposed", "data": 1, "key": "' + "k" * 257 + '"}', ["/key"]),
        ('{"type": "match.proposed", "data": 1, "key": 5}', ["/key"]),
        ('{"type": "match.proposed", "data": 1, "org_id": "me"}', ["/org_id"]),
        ('{"type": "match.proposed", "data": 1, "deliver_after": "2030-01-01T00:00:00"}', ["/deliver_after"]),
        ('{"type": "match.proposed", "data": 1, "deliver_after": "2030-01-01"}', ["/deliver_after"]),
        (
            '{"type": "match.proposed", "data": 1, "deliver_after": "2030-13-01T00:00:00Z"}',
            ["/deliver_after"],
        ),
        (
            '{"type": "match.proposed", "data": 1, "deliver_after": "0001-01-01T00:00:00+01:00"}',
            ["/deliver_after"],
        ),
        ('{"type": "match.proposed", "data": ' + "[" * 70 + "]" * 70 + "}", [""]),
        ('{"type": "match.proposed", "data": "' + "x" * 2000 + '"}', ["/data"]),
        ("[]", [""]),
        ("7", [""]),
        ('"event"', [""]),
        ("[" + ",".join(["7"] * 11) + "]", [""]),
    ],
)
async def test_what_cannot_be_published_is_named(text: str, expected: list[str]) -> None:
    world = World(settings=ApiSettings(TYPES, max_event=1500, max_batch=10))
    async with client(world) as http:
        headers = {**PLATFORM, "Content-Type": "application/json"}
        answer = await http.post("/events", content=text, headers=headers)
        assert pointers(answer) == expected
        assert not world.events.published


@pytest.mark.parametrize("text", ["", "{", '{"type": x}', b"\xff", b'\xef\xbb\xbf{"type": 1}', "{} {}"])
async def test_what_is_not_json_gets_400(text: str | bytes) -> None:
    async with client(World()) as http:
        headers = {**PUBLISHER, "Content-Type": "application/json"}
        problem(await http.post("/events", content=text, headers=headers), 400)


async def test_integers_of_any_size_stay_exact() -> None:
    world = World()
    async with client(world) as http:
        digits = "9" * 6000
        text = '{"type": "match.proposed", "data": ' + digits + "}"
        headers = {**PUBLISHER, "Content-Type": "application/json; charset=UTF-8"}
        assert (await http.post("/events", content=text, headers=headers)).status_code == 202
        assert f'"data":{digits},' in world.events.published[0].body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_only_plain_json_is_read(headers: dict[str, str]) -> None:
    async with client(World()) as http:
        answer = await http.post("/events", content=b'{"type": 1}', headers={**PUBLISHER, **headers})
        problem(answer, 415)


async def test_only_the_platform_publishes_for_another_organisation() -> None:
    world = World()
    async with client(world) as http:
        given = {**EVENT, "org_id": str(OTHER_ORG)}
        problem(await http.post("/events", json=given, headers=PUBLISHER), 403)
        problem(await http.post("/events", json=[EVENT, given], headers=PUBLISHER), 403)
        assert not world.events.published
        assert (await http.post("/events", json=given, headers=PLATFORM)).status_code == 202
        assert (await http.post("/events", json=EVENT, headers=PLATFORM)).status_code == 202
        assert [event.org_id for event in world.events.published] == [OTHER_ORG, ORG]


async def test_a_publish_outlives_its_client_and_the_drain() -> None:
    world = World()
    world.events.gate = trio.Event()
    async with serving(world.app(), ServerLimits(drain_timeout=0.05)) as server:
        publisher = await server.connect()
        headers = ("Content-Type: application/json", f"Authorization: Bearer {token('publisher')}")
        body = b'{"type": "match.proposed", "data": 1}'
        await publisher.send(request("POST", "/events", *headers, body=body))
        await world.events.waiting.wait()
        await publisher.stream.aclose()
        server.stop.set()
        with trio.move_on_after(0.2):
            await server.stopped.wait()
        assert not server.stopped.is_set()
        world.events.gate.set()
        await server.stopped.wait()
        assert len(world.events.published) == 1


async def test_a_publish_that_takes_too_long_gets_503() -> None:
    world = World(settings=ApiSettings(TYPES, commit_timeout=0.05))
    world.events.gate = trio.Event()
    async with client(world) as http:
        answer = await http.post("/events", json=EVENT, headers=PUBLISHER)
        assert "with a key" in problem(answer, 503)["detail"]
        assert world.wakes == 0


# What every path has in common.


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), RetryTransaction("lost")])
async def test_without_a_database_the_answer_is_503(error: Exception) -> None:
    world = World()
    world.subscriptions.error = world.events.error = error
    async with client(world) as http:
        for answer in [
            await http.get("/webhooks/", headers=READER),
            await http.get(f"/webhooks/{uuid4()}", headers=READER),
            await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN),
            await http.post("/events", json=EVENT, headers=PUBLISHER),
        ]:
            problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0


async def test_an_unexpected_error_is_told_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.subscriptions.error = RuntimeError("deliberate insides")
    async with client(world) as http:
        answer = await http.get("/webhooks/", headers={**READER, "X-Request-Id": "trace-me"})
        assert problem(answer, 500)["request_id"] == "trace-me"
        assert "insides" not in answer.text
        assert "deliberate insides" in caplog.text
        assert any("trace-me" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/"])
async def test_a_wrong_method_gets_405_with_allow(path: str) -> None:
    async with client(World()) as http:
        answer = await http.put(path)
        problem(answer, 405)
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
        options = await http.options(path)
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("path", ["/nothing", "/webhooks/x", "/static/x", "/webhooks//"])
async def test_an_unknown_path_gets_404(path: str) -> None:
    async with client(World()) as http:
        problem(await http.get(http.base_url.copy_with(raw_path=path.encode())), 404)


async def test_head_has_the_headers_of_get() -> None:
    async with client(World()) as http:
        got, head = await http.get("/health/live"), await http.head("/health/live")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(("offered", "kept"), [("abc-123", True), ("x" * 129, False), ("a b", False)])
async def test_a_sane_request_id_is_echoed(offered: str, kept: bool) -> None:
    async with client(World()) as http:
        answer = await http.get("/health/live", headers={"X-Request-Id": offered})
        assert (answer.headers["x-request-id"] == offered) is kept
        assert answer.headers["cache-control"] == "no-store"


async def test_health_tells_what_works() -> None:
    world = World()
    async with client(world) as http:
        assert (await http.get("/health/live")).json() == {"status": "ok"}
        ready = await http.get("/health/ready")
        checks = [{"name": "database", "ok": True, "detail": ""}]
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": checks})
        world.checks = [Check("database", False, "away; start it")]
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")


async def test_a_failing_readiness_check_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> list[Check]:
        raise RuntimeError("deliberate")

    async with client(World(check=fail)) as http:
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"][0]["ok"]) == (503, False)
        assert "deliberate" not in ready.text
        assert "deliberate" in caplog.text


async def test_no_secret_and_no_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "hookd"):
        async with client(World()) as http:
            given = {**REGISTRATION, "secret": "whsec_dont-log-me"}
            made = await http.post("/webhooks/", json=given, headers=ADMIN)
            generated = (await http.post("/webhooks/", json=REGISTRATION, headers=ADMIN)).json()["secret"]
            await http.post("/webhooks/", json={**given, "url": "x"}, headers=ADMIN)
            assert made.status_code == 201
    logged = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("hookd"))
    assert "POST" in logged
    for hidden in ["dont-log-me", generated, ADMIN["Authorization"].split()[1]]:
        assert hidden not in logged
