"""What a client sends before it should, and what it keeps back until it is told to go on."""

# Covers api.request_tasks, api.h11_connection.

import json

import pytest
import trio

from api.connection import ServerLimits
from api.services import ApiSettings
from tests.support.api_harness import TYPES, RawClient, World, bearer, request, serving, token

EXPECT = "Expect: 100-continue"
EVENT = json.dumps({"type": "match.proposed", "data": {"n": 1}}).encode()


def head(*headers: str, path: str = "/events", length: int = len(EVENT), role: str = "publisher") -> bytes:
    return request(
        "POST",
        path,
        f"Authorization: Bearer {token(role)}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *headers,
    )


async def first_line(client: RawClient) -> bytes:
    """Return the first line of what the server sends, whatever that is."""
    return (await client.stream.receive_some(65536)).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(EXPECT, length=9_000_000), b"413"),
        (head(EXPECT, role="viewer"), b"403"),
        (head(EXPECT, path="/webhooks", role="publisher"), b"403"),
        (head(EXPECT, path="/nowhere"), b"404"),
        (head(EXPECT, path="/webhooks/events"), b"405"),
        (head(EXPECT, "Content-Encoding: gzip"), b"415"),
        (head(EXPECT, "Idempotency-Key: \x7f"), b"400"),
        (head("expect: 100-Continue").replace(b"Bearer ", b"Bearer x"), b"401"),
    ],
)
async def test_a_certain_refusal_comes_without_an_invitation(sent: bytes, status: bytes) -> None:
    async with serving(World(settings=ApiSettings(event_types=TYPES)).app()) as server:
        client = await server.connect()
        await client.send(sent)
        assert (await first_line(client)).split()[1] == status
        assert await client.closed()  # the body may still come, and nobody wants it


async def test_a_body_that_is_wanted_is_asked_for_once() -> None:
    world = World()
    async with serving(world.app()) as server:
        client = await server.connect()
        for number in (1, 2):  # and the connection goes on
            await client.send(head(EXPECT))
            assert await first_line(client) == b"HTTP/1.1 100 "
            await client.send(EVENT)
            assert (await client.answer("POST")).status == 202
            assert len(world.events.published) == number


async def test_who_does_not_wait_is_not_asked() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(head(EXPECT) + EVENT)
        assert b" 202 " in await first_line(client)


async def test_a_body_that_was_asked_for_and_does_not_come_is_408() -> None:
    async with serving(World().app(), ServerLimits(read_timeout=0.2)) as server:
        client = await server.connect()
        await client.send(head(EXPECT))
        assert await first_line(client) == b"HTTP/1.1 100 "
        assert (await client.answer("POST")).status == 408


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n\r\n\r\n\r\n"])
async def test_empty_lines_before_a_request_are_passed_over(before: bytes) -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        for _ in range(2):
            await client.send(before + request("GET", "/health/live"))
            assert (await client.answer()).status == 200
        for byte in before:  # each in a segment of its own
            await client.send(bytes([byte]))
            await trio.sleep(0.01)
        await client.send(request("GET", "/health/live") + before + request("GET", "/health/live"))
        assert (await client.answer()).status == 200


async def test_an_empty_line_behind_a_body_is_no_request() -> None:
    """It is what clients of old end a form with: the connection is idle, and its end no answer."""
    async with serving(World().app(), ServerLimits(read_timeout=0.1, idle_timeout=0.3)) as server:
        client = await server.connect()
        await client.send(head() + EVENT + b"\r\n")
        assert (await client.answer("POST")).status == 202
        await trio.sleep(0.15)
        await client.send(b"\r\n")
        await trio.sleep(0.15)
        await client.send(request("GET", "/health/live"))
        assert (await client.answer()).status == 200
        assert await client.stream.receive_some() == b""


async def test_empty_lines_do_not_go_on_for_ever() -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(b"\r\n" * 100)
        assert (await client.answer()).status == 400
        assert await client.closed()


async def test_a_weak_tag_is_called_one() -> None:
    world = World()
    async with serving(world.app()) as server:
        client = await server.connect()
        admin = f"Authorization: {bearer('org_admin')['Authorization']}"
        given = json.dumps({"url": "https://example.com/", "events": ["*"]}).encode()
        await client.send(request("POST", "/webhooks", admin, "Content-Type: application/json", body=given))
        made = await client.answer("POST")
        path = made.headers["location"]
        etag = made.headers["etag"]
        for condition, kind in (
            (f"W/{etag}", "weak-etag"),
            (f'W/{etag}, W/"9"', "weak-etag"),
            ('"9.9"', "changed-meanwhile"),
        ):
            await client.send(request("DELETE", path, admin, f"If-Match: {condition}"))
            answer = await client.answer("DELETE")
            assert answer.status == 412
            assert json.loads(answer.body)["type"] == f"urn:hookd:problem:{kind}"
        await client.send(request("DELETE", path, admin, f'If-Match: W/"9", {etag}'))
        assert (await client.answer("DELETE")).status == 204
