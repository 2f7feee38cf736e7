"""POST /webhooks/{id}/test: who may ask for it, with what body, and how the outcome is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from daemon.egress.errors import Phases
from daemon.egress.report import (
    EndpointTest,
    EndpointTestsBusy,
    EndpointTestsStopping,
    Finding,
    Outcome,
    Sent,
)
from daemon.store.database import DatabaseUnavailable
from tests.support.api_harness import ORG, OTHER_ORG, FakeEndpointTests, World, bearer, serving

ADMIN = bearer("org_admin")
JSON = {"Content-Type": "application/json"}
REFUSED = Outcome(401, "status_4xx", "Verify.", 12.3456, Phases(0.001, 0.002, None, 0.0034567), "no")
TEST = EndpointTest(
    uuid4(),
    uuid4(),
    Sent("POST", "https://example.com/", (("Host", "example.com"), ("webhook-id", "1")), "{}", "curl …"),
    Outcome(200, None, None, 5.0, Phases(), "ok", "lines end without CR", {"server": "x"}),
    None,
)


@asynccontextmanager
async def client(endpoint_tests: FakeEndpointTests) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """An API with one subscription, and the path of its test."""
    async with (
        serving(World(endpoint_tests=endpoint_tests).app()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        answer = await http.post(
            "/webhooks/", json={"url": "https://example.com/", "events": ["*"]}, headers=ADMIN
        )
        yield http, f"/webhooks/{answer.json()['id']}/test"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


async def test_the_outcome_is_told_in_full() -> None:
    endpoint_tests = FakeEndpointTests(TEST)
    async with client(endpoint_tests) as (http, path):
        answer = await http.post(path, headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json() == {
        "delivered": True,
        "response_status": 200,
        "error": None,
        "error_detail": None,
        "note": "lines end without CR",
        "duration_ms": 5.0,
        "phases": {"dns_ms": None, "connect_ms": None, "tls_ms": None, "first_byte_ms": None},
        "event_id": str(TEST.event_id),
        "delivery_id": str(TEST.delivery_id),
        "request": {
            "method": "POST",
            "url": "https://example.com/",
            "headers": {"Host": "example.com", "webhook-id": "1"},
            "body": "{}",
        },
        "curl": "curl …",
        "response_headers": {"server": "x"},
        "response_excerpt": "ok",
        "blocked_until": None,
    }
    assert endpoint_tests.asked == [(ORG, UUID(path.split("/")[2]), False)]


async def test_a_request_that_could_not_be_made_and_findings_are_told() -> None:
    findings = [Finding("a", "4xx", REFUSED, None), Finding("b", "2xx", REFUSED, "Answer 2xx.")]
    test = EndpointTest(uuid4(), uuid4(), None, REFUSED, findings)
    async with client(FakeEndpointTests(test)) as (http, path):
        told = (await http.post(path, json={"conformance": True}, headers=ADMIN)).json()
    assert (told["delivered"], told["request"], told["curl"]) == (False, None, None)
    assert (told["error"], told["error_detail"], told["duration_ms"]) == ("status_4xx", "Verify.", 12.35)
    assert told["phases"] == {"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": None, "first_byte_ms": 3.46}
    first = {"check": "a", "expected": "4xx", "response_status": 401, "error": None, "duration_ms": 12.35}
    assert told["conformance"][0] == {**first, "passed": True, "advice": None}
    assert told["conformance"][1]["passed"] is False
    assert told["conformance"][1]["advice"] == "Answer 2xx."
    assert told["conforms"] is False


@pytest.mark.parametrize("advice", [None, "Do."])
@pytest.mark.parametrize("outcome", [TEST.outcome, REFUSED])
async def test_it_takes_a_delivery_and_every_check_to_conform(outcome: Outcome, advice: str | None) -> None:
    test = EndpointTest(uuid4(), uuid4(), None, outcome, [Finding("a", "2xx", outcome, advice)])
    async with client(FakeEndpointTests(test)) as (http, path):
        told = (await http.post(path, json={"conformance": True}, headers=ADMIN)).json()
    assert told["conforms"] is (outcome.error is None and advice is None)


@pytest.mark.parametrize(
    ("body", "conformance"),
    [
        (b"", False),
        (b"{}", False),
        (b"null", False),
        (b"null\n", False),
        (b' {"conformance" : false}\n', False),
        (b'{"conformance":true}', True),
    ],
)
async def test_bodies_that_do(body: bytes, conformance: bool) -> None:
    endpoint_tests = FakeEndpointTests(TEST)
    async with client(endpoint_tests) as (http, path):
        for trailing in ("", "/"):
            headers = {**ADMIN, **(JSON if body else {})}
            assert (await http.post(path + trailing, content=body, headers=headers)).status_code == 200
        if not body:
            headers = {**ADMIN, "Content-Type": "text/plain"}
            assert (await http.post(path, content=body, headers=headers)).status_code == 200
    assert {one[2] for one in endpoint_tests.asked} == {conformance}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"conformance": "true"}', "/conformance"),
        (b'{"conformance": 1}', "/conformance"),
        (b'{"conformance": null}', "/conformance"),
        (b'{"conformance": true, "url": "https://example.com"}', "/url"),
        (b'{"\\u0000": 1}', ""),
        (b"[]", ""),
        (b"true", ""),
        (b'{"conformance": [[[[[true]]]]]}', ""),
    ],
)
async def test_bodies_that_do_not(body: bytes, pointer: str) -> None:
    endpoint_tests = FakeEndpointTests(TEST)
    async with client(endpoint_tests) as (http, path):
        answer = await http.post(path, content=body, headers={**ADMIN, **JSON})
    assert [one["pointer"] for one in problem(answer, 422)["errors"]] == [pointer]
    assert endpoint_tests.asked == []


async def test_bodies_that_are_no_json() -> None:
    endpoint_tests = FakeEndpointTests(TEST)
    async with client(endpoint_tests) as (http, path):
        for body in (b"{", b"\xff", b" ", b"conformance=true"):
            problem(await http.post(path, content=body, headers={**ADMIN, **JSON}), 400)
        headers = {**ADMIN, "Content-Type": "application/x-www-form-urlencoded"}
        problem(await http.post(path, content=b"conformance=true", headers=headers), 415)
        problem(await http.post(path, content=b" " * 5000, headers={**ADMIN, **JSON}), 413)
    assert endpoint_tests.asked == []


async def test_only_an_admin_of_the_organisation_may_test() -> None:
    endpoint_tests = FakeEndpointTests(TEST)
    async with client(endpoint_tests) as (http, path):
        assert problem(await http.post(path), 401)["type"].endswith("unauthorized")
        for headers in (bearer(), bearer("viewer"), bearer("publisher"), bearer("platform")):
            problem(await http.post(path, headers=headers), 403)
        problem(await http.post(path, headers=bearer("org_admin", org=OTHER_ORG)), 404)
        problem(await http.post(f"/webhooks/{uuid4()}/test", headers=ADMIN), 404)
        problem(await http.post("/webhooks/x/test", headers=ADMIN), 404)
        answer = await http.get(path, headers=ADMIN)
        problem(answer, 405)
        assert "POST" in answer.headers["allow"]
    assert endpoint_tests.asked == []


async def test_a_subscription_that_goes_meanwhile_is_not_found() -> None:
    async with client(FakeEndpointTests(None)) as (http, path):
        problem(await http.post(path, headers=ADMIN), 404)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EndpointTestsBusy(7, "The rate of https://a.test:443 is used up"), 429),
        (EndpointTestsStopping(), 503),
        (DatabaseUnavailable("gone"), 503),
    ],
)
async def test_what_cannot_be_tested_now_may_be_later(error: Exception, status: int) -> None:
    async with client(FakeEndpointTests(error=error)) as (http, path):
        answer = await http.post(path, headers=ADMIN)
    document = problem(answer, status)
    if status == 429:
        assert document["detail"].startswith("The rate of https://a.test:443 is used up; send the request")
    assert int(answer.headers["retry-after"]) == (7 if status == 429 else 5)
