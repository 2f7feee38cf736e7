"""What an HTTP client may expect of every path: HEAD, OPTIONS, Allow, Link, rate limits, origins."""

import re
from collections.abc import Iterator
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
                assert path == "/metrics" or int(head.headers["content-length"]) == len(got.content)


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
        assert (await http.get("/webhooks", headers=bearer(org=OTHER_ORG))).status_code == 200
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
