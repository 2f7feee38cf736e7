"""What an HTTP client may expect of every path: HEAD, OPTIONS, Allow, Link, rate limits, origins."""

# Covers api.cacheable.

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.rate_limits import Rate
from api.services import ApiSettings
from tests.support.api_harness import OTHER_ORG, TYPES, World, bearer, request, serving

ADMIN = bearer("org_admin")
REGISTRATION = {"url": "https://example.com/hook", "events": ["match.proposed"]}
APP = "https://app.example.com"
CHANGING = {"date", "x-request-id", "ratelimit"}


def client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False)


def paths(world: World) -> Iterator[tuple[str, set[str]]]:
    """Yield every path that the API has, with random ids, and its methods."""
    methods: dict[str, set[str]] = {}
    for rule in world.app().url_map.iter_rules():
        methods.setdefault(rule.rule, set()).update(rule.methods or ())
    for path, allowed in methods.items():
        yield re.sub(r"<uuid:\w+>", lambda _: str(uuid4()), re.sub(r"<path:\w+>", "x", path)), allowed


async def test_options_and_wrong_methods_name_what_each_path_allows() -> None:
    world = World()
    async with serving(world.app()) as server, client(server.url) as http:
        for path, methods in paths(world):
            for spelling in (path, path + "/"):
                options = await http.options(spelling)
                assert options.status_code == 204, spelling
                assert set(options.headers["allow"].split(", ")) == methods, spelling
                assert "content-length" not in options.headers
                for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW"} - methods:
                    wrong = await http.request(method, spelling)
                    assert wrong.status_code == 405, (method, spelling)
                    assert wrong.headers["content-type"] == "application/problem+json"
                    assert set(wrong.headers["allow"].split(", ")) == methods


async def test_head_answers_as_get_does_without_a_body() -> None:
    world = World()
    async with serving(world.app()) as server, client(server.url) as http:
        made = (await http.post("/webhooks", json=REGISTRATION, headers=ADMIN)).json()["id"]
        readable = [path for path, methods in paths(world) if "GET" in methods]
        assert {"/webhooks", "/health/live"} <= set(readable)
        for path in [*readable, f"/webhooks/{made}"]:
            for headers in (ADMIN, {}):
                got, head = await http.get(path, headers=headers), await http.head(path, headers=headers)
                assert head.status_code == got.status_code, path
                assert head.content == b""
                changing = CHANGING | ({"content-length"} if path == "/metrics" else set())
                kept = [
                    {name: value for name, value in answer.headers.items() if name not in changing}
                    for answer in (got, head)
                ]
                assert kept[0] == kept[1], path
                length = head.headers.get("content-length", "0")
                assert path == "/metrics" or int(length) == len(got.content), path


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "BREW"])
async def test_an_unknown_path_is_unknown_to_every_method(method: str) -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        assert (await http.request(method, "/nothing")).status_code == 404


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/"])
async def test_the_link_to_the_next_page_can_be_followed(path: str) -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        for _ in range(5):
            await http.post(path, json=REGISTRATION, headers=ADMIN)
        seen: list[str] = []
        answer = await http.get(path, params={"limit": "2"}, headers=ADMIN)
        while True:
            seen += [item["id"] for item in answer.json()["data"]]
            if "next" not in answer.links:
                break
            assert answer.json()["next_cursor"] in answer.links["next"]["url"]
            answer = await http.get(answer.links["next"]["url"], headers=ADMIN)
        assert answer.json()["next_cursor"] is None
        assert "link" not in answer.headers
        assert len(set(seen)) == len(seen) == 5


@pytest.mark.parametrize("query", ["limit=1&limit=2", "cursor=a&cursor=a", "limt=1", "limit=1&x", "LIMIT=1"])
async def test_a_query_that_means_nothing_or_two_things_gets_400(query: str) -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        answer = await http.get(f"/webhooks?{query}", headers=ADMIN)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


# Versions.


async def test_a_change_of_what_was_changed_meanwhile_is_refused_whatever_it_is() -> None:
    world = World()
    async with serving(world.app()) as server, client(server.url) as http:
        made = await http.post("/webhooks", json=REGISTRATION, headers=ADMIN)
        path, first = f"/webhooks/{made.json()['id']}", made.headers["etag"]
        now = (await http.patch(path, json={"events": ["*"]}, headers=ADMIN)).headers["etag"]
        stale = {**ADMIN, "If-Match": first}
        for answer in [
            await http.delete(path, headers=stale),
            await http.post(f"{path}/rotate-secret", headers=stale),
            await http.patch(path, json={"events": ["*"]}, headers=stale),
            await http.delete(path, headers=[*stale.items(), ("If-Match", 'W/"2.0"')]),
        ]:
            assert (answer.status_code, answer.json()["type"]) == (412, "urn:hookd:problem:changed-meanwhile")
        for method, there in [("DELETE", path), ("POST", f"{path}/rotate-secret")]:
            assert (await http.request(method, there, headers={**ADMIN, "If-Match": "2"})).status_code == 400
        several = [*stale.items(), ("If-Match", now)]
        assert (await http.post(f"{path}/rotate-secret", headers=several)).status_code == 200
        listed = {**ADMIN, "If-Match": f'{now}, "3.0"'}
        assert (await http.delete(path, headers=listed)).status_code == 204
        assert (await http.delete(path, headers=listed)).status_code == 404


async def test_a_failure_makes_what_is_shown_new_but_no_change_stale() -> None:
    world = World()
    async with serving(world.app()) as server, client(server.url) as http:
        made = await http.post("/webhooks", json=REGISTRATION, headers=ADMIN)
        path, before = f"/webhooks/{made.json()['id']}", made.headers["etag"]
        seen = {**ADMIN, "If-None-Match": before}
        assert (await http.get(path, headers=seen)).status_code == 304
        kept = world.subscriptions.kept
        kept[UUID(made.json()["id"])] = replace(kept[UUID(made.json()["id"])], failure_count=3)
        shown = await http.get(path, headers=seen)
        assert (shown.status_code, shown.json()["failure_count"]) == (200, 3)
        several = [*ADMIN.items(), ("If-None-Match", before), ("If-None-Match", shown.headers["etag"])]
        assert (await http.get(path, headers=several)).status_code == 304
        changed = await http.patch(path, json={"events": ["*"]}, headers={**ADMIN, "If-Match": before})
        assert changed.status_code == 200


async def test_secret_headers_do_not_follow_to_another_host_by_themselves() -> None:
    world = World()
    registration = {**REGISTRATION, "headers": {"Authorization": "Bearer mine"}}
    async with serving(world.app()) as server, client(server.url) as http:
        made = (await http.post("/webhooks", json=registration, headers=ADMIN)).json()
        path = f"/webhooks/{made['id']}"
        for other in ["https://other.example/", "https://example.com:444/hook"]:
            answer = await http.patch(path, json={"url": other}, headers=ADMIN)
            assert answer.status_code == 422
            [error] = answer.json()["errors"]
            assert error["pointer"] == "/headers"
            assert "null" in error["detail"]
        back = await http.patch(path, json={"headers": made["headers"]}, headers=ADMIN)
        assert back.json()["errors"][0]["pointer"] == "/headers/Authorization"
        kept = world.subscriptions.kept[UUID(made["id"])]
        assert (kept.url, kept.extras.headers) == (registration["url"], registration["headers"])
        for change in [
            {"url": "https://example.com/elsewhere"},
            {"url": "https://other.example/", "headers": {"Authorization": "Bearer other"}},
            {"url": "https://third.example/", "headers": None},
            {"url": "https://fourth.example/"},
        ]:
            assert (await http.patch(path, json=change, headers=ADMIN)).status_code == 200, change


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\x7f", "\x9b", "\u202e", "\u2066"])
async def test_notes_that_would_steer_a_terminal_or_turn_text_around_are_refused(character: str) -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        notes = {"description": f"a{character}", "metadata": {"k": f"{character}b", f"{character}k": "c"}}
        answer = await http.post("/webhooks", json={**REGISTRATION, **notes}, headers=ADMIN)
        assert answer.status_code == 422
        expected = {"/description", "/metadata/k", f"/metadata/{character}k"}
        assert {error["pointer"] for error in answer.json()["errors"]} == expected


async def test_notes_may_have_lines_and_any_script() -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        notes = {"description": "a\n\tb → עברית 🎉", "metadata": {"ключ": "значение\u200d"}}
        answer = await http.post("/webhooks", json={**REGISTRATION, **notes}, headers=ADMIN)
        assert answer.status_code == 201
        broken = {**REGISTRATION, "metadata": {"k": "a\nb"}}
        assert (await http.post("/webhooks", json=broken, headers=ADMIN)).status_code == 422


# Rates.


def limited(rate: float, burst: float) -> World:
    return World(settings=ApiSettings(TYPES, rate=Rate(rate, burst)))


async def test_every_authenticated_answer_tells_what_is_left() -> None:
    async with serving(limited(0.01, 5).app()) as server, client(server.url) as http:
        for left, (method, path, status) in enumerate(
            [("GET", f"/webhooks/{uuid4()}", 404), ("POST", "/events", 403), ("GET", "/webhooks", 200)], 2
        ):
            answer = await http.request(method, path, headers=ADMIN)
            assert answer.status_code == status
            assert answer.headers["ratelimit-policy"] == '"default";q=5;w=500'
            assert answer.headers["ratelimit"].startswith(f'"default";r={6 - left};t=')
        for anonymous in [await http.get("/webhooks"), await http.get("/health/live")]:
            assert "ratelimit" not in anonymous.headers


async def test_one_request_too_many_gets_429_and_costs_nothing_else() -> None:
    world = limited(0.01, 2)
    async with serving(world.app()) as server, client(server.url) as http:
        answers = [await http.post("/webhooks", json=REGISTRATION, headers=ADMIN) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        refused = answers[2]
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["type"] == "urn:hookd:problem:too-many-requests"
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert refused.headers["ratelimit"] == f'"default";r=0;t={refused.headers["retry-after"]}'
        assert len(world.subscriptions.kept) == 2
        assert (await http.get("/webhooks", headers=bearer("viewer", org=OTHER_ORG))).status_code == 200
        assert (await http.get("/health/live")).status_code == 200


async def test_the_platform_and_who_has_no_good_token_are_not_counted() -> None:
    async with serving(limited(0.01, 1).app()) as server, client(server.url) as http:
        platform = bearer("platform")
        for _ in range(3):
            assert (await http.get("/webhooks", headers={"Authorization": "Bearer x"})).status_code == 401
            answer = await http.get("/webhooks", headers=platform)
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        assert (await http.get("/webhooks", headers=ADMIN)).status_code == 200


async def test_a_limit_can_change_while_the_api_runs() -> None:
    world = limited(0.01, 1)
    async with serving(world.app()) as server, client(server.url) as http:
        await http.get("/webhooks", headers=ADMIN)
        assert (await http.get("/webhooks", headers=ADMIN)).status_code == 429
        world.settings = ApiSettings(TYPES)
        assert (await http.get("/webhooks", headers=ADMIN)).status_code == 200


# Origins.


def preflight(method: str, **more: str) -> dict[str, str]:
    return {"Origin": APP, "Access-Control-Request-Method": method, **more}


async def test_pages_of_other_origins_are_told_nothing_by_default() -> None:
    async with serving(World().app()) as server, client(server.url) as http:
        for answer in [
            await http.options("/webhooks", headers=preflight("POST")),
            await http.get("/webhooks", headers={**ADMIN, "Origin": APP}),
        ]:
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "vary" not in answer.headers


async def test_a_page_of_a_named_origin_can_do_all_that_the_path_allows() -> None:
    world = World(settings=ApiSettings(TYPES, cors_origins=(APP,), rate=Rate(0.01, 2)))
    async with serving(world.app()) as server, client(server.url) as http:
        asked = await http.options("/webhooks/", headers=preflight("POST"))
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == APP
        assert asked.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
        allowed = asked.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "idempotency-key", "if-match"} <= set(allowed)
        from_page = {**ADMIN, "Origin": APP}
        answers: list[httpx.Response] = [
            await http.post("/webhooks/", json=REGISTRATION, headers=from_page),
            await http.get(f"/webhooks/{UUID(int=0)}", headers=from_page),
            await http.get("/webhooks/", headers=from_page),
            await http.get("/webhooks/", headers={"Origin": APP}),
            await http.get("/nothing", headers={"Origin": APP}),
            await http.put("/webhooks", headers={"Origin": APP}),
        ]
        assert [answer.status_code for answer in answers] == [201, 404, 429, 401, 404, 405]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["vary"] == "Origin"
            assert "ETag" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers
        stranger = await http.options("/webhooks/", headers={**preflight("POST"), "Origin": "https://x.y"})
        assert "access-control-allow-origin" not in stranger.headers
        assert stranger.headers["vary"] == "Origin"


async def test_an_origin_with_a_line_break_forges_no_header() -> None:
    world = World(settings=ApiSettings(TYPES, cors_origins=("*",)))
    async with serving(world.app()) as server:
        http = await server.connect()
        await http.send(request("GET", "/health/live", "Origin: a\r\n b"))
        answer: Any = await http.answer()
        assert "b" not in answer.headers
        assert answer.status == 400 or answer.headers["access-control-allow-origin"] == "*"
