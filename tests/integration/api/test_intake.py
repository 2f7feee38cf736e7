"""Bodies that are made to hold everybody up: what is large is refused early, or read in pieces."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from api.bytes_in_hand import BytesInHand
from api.loop_time import LoopTime, Piece
from api.services import ApiSettings
from tests.support.api_harness import OTHER_ORG, TYPES, RawClient, Running, World, bearer, request, serving

PUBLISHER = bearer("publisher")
JSON = "Content-Type: application/json"
AUTHORIZATION = f"Authorization: {PUBLISHER['Authorization']}"
EVENT = '{"type":"match.proposed","data":1}'
KIB, MIB = 1024, 1024**2


@asynccontextmanager
async def client(world: World) -> AsyncIterator[tuple[httpx.AsyncClient, Running]]:
    async with (
        serving(world.app()) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as http,
    ):
        yield http, server


class Counted(LoopTime):
    """Counts the pieces of work."""

    pieces = 0

    def piece(self, org_id: UUID) -> Piece:
        self.pieces += 1
        return super().piece(org_id)


async def post(http: httpx.AsyncClient, body: str, **headers: str) -> httpx.Response:
    return await http.post(
        "/events", content=body.encode(), headers={**PUBLISHER, "Content-Type": "application/json", **headers}
    )


def event(data: str) -> str:
    return f'{{"type":"match.proposed","data":{data}}}'


def detail(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    return str(answer.json()["errors"][0]["detail"])


# The loop.


@pytest.mark.parametrize("item", ["[]", "{}", '"",""', "0", EVENT])
async def test_of_millions_of_elements_only_the_first_are_read(item: str) -> None:
    world = World(loop_time=Counted())
    body = f"[{','.join([item] * (8 * MIB // (len(item) + 1) - 1))}]"
    async with client(world) as (http, _):
        answer = await post(http, body)
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) <= 20
        assert not world.events.published
        assert isinstance(world.loop_time, Counted)
        assert world.loop_time.pieces < 100


@pytest.mark.parametrize("form", ["one", "many", "stream"])
@pytest.mark.parametrize(
    "data",
    [
        "[" + "0," * 500_000 + "0]",
        "[" + "[]," * 500_000 + '{"a":1,"a":2}]',
        "{" + ",".join(f'"{number}":{{}}' for number in range(90_000)) + "}",
    ],
    ids=["numbers", "a repeated key at the end", "members"],
)
async def test_an_event_of_too_many_values_is_refused_unread(form: str, data: str) -> None:
    world = World()
    kind = "application/x-ndjson" if form == "stream" else "application/json"
    body = f"[{EVENT},{event(data)}]" if form == "many" else event(data)
    if form == "stream":
        world.settings = replace(world.settings, max_event=4 * MIB)
    async with client(world) as (http, _):
        answer = await post(http, body, **{"Content-Type": kind})
        assert "more than 20008 values" in detail(answer)
        assert answer.json()["errors"][0]["pointer"] == {"one": "", "many": "/1", "stream": "/1"}[form]


@pytest.mark.parametrize("form", ["one", "many", "stream"])
async def test_what_stands_in_a_text_is_no_value(form: str) -> None:
    data = json.dumps(",[{" * 30_000)
    kind = "application/x-ndjson" if form == "stream" else "application/json"
    async with client(World()) as (http, _):
        body = f"[{event(data)},{EVENT}]" if form == "many" else event(data)
        assert (await post(http, body, **{"Content-Type": kind})).status_code == 202


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
async def test_a_large_batch_is_read_in_many_pieces(kind: str) -> None:
    world = World(loop_time=Counted())
    events = [event(json.dumps([{"number": number, "name": "x" * 200}] * 50)) for number in range(200)]
    body = f"[{','.join(events)}]" if kind == "application/json" else "\n".join(events)
    async with client(world) as (http, _):
        answer = await post(http, body, **{"Content-Type": kind})
        assert answer.status_code == 202, answer.text
        assert [json.loads(one.body)["data"][0]["number"] for one in world.events.published] == list(
            range(200)
        )
        assert isinstance(world.loop_time, Counted)
        assert world.loop_time.pieces > len(body) / (256 * KIB)


async def test_faults_of_a_large_batch_are_placed_as_in_a_small_one() -> None:
    good = [event(json.dumps("x" * 1000))] * 200
    async with client(World()) as (http, _):
        nul = event('{"a": "\\u0000"}')
        answer = await post(http, f"[{','.join([*good, nul])}]")
        assert answer.json()["errors"] == [
            {"pointer": "/200/data/a", "detail": "holds a NUL character (\\u0000); leave it out"}
        ]
        answer = await post(http, "[" + ",\n".join([*good, '{"type": }']) + "]")
        assert answer.status_code == 400
        assert "at line 201, column 10" in answer.json()["detail"]
        answer = await post(http, "[" + ",".join([*good, '{"typ": 1}', '{"data": 1}']) + "]")
        places = [error["pointer"] for error in answer.json()["errors"]]
        assert places == ["/200/type", "/200/data", "/200/typ", "/201/type"]


async def test_a_text_longer_than_an_event_can_be_is_refused() -> None:
    async with client(World()) as (http, _):
        long = event('"' + "\\u0041" * (3 * MIB // 6) + '"')
        assert "longer than 2101248 bytes" in detail(await post(http, long))
        assert "longer than 2101248 bytes" in detail(await post(http, f"[{EVENT},{long}]"))


async def test_many_unknown_fields_are_not_told_one_by_one() -> None:
    members = ",".join(f'"{number}":0' for number in range(15_000))
    async with client(World()) as (http, _):
        assert "more than 1000 members" in detail(await post(http, f"{{{members}}}"))
        long = json.dumps({"type": "match.proposed", "data": 1, "x" * 100_000: 1})
        answer = await post(http, long)
        assert detail(answer) == "is not a known field; leave it out"
        assert answer.json()["errors"][0]["pointer"] == ""
        registration = {
            "url": "https://example.com/",
            "events": ["*"],
            "metadata": dict.fromkeys(range(3000), 1),
        }
        answer = await http.post("/webhooks", json=registration, headers=bearer("org_admin"))
        assert "more than 1000 values" in detail(answer)


# Memory.


async def deaf_client(server: Running) -> RawClient:
    """Return a client for which the kernel keeps little that it has not read."""
    host, port = server.address.rsplit(":", 1)
    client = trio.socket.socket()
    client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 2048)
    await client.connect((host, int(port)))
    return RawClient(trio.SocketStream(client))


def upload(length: int, kind: str = "application/json") -> bytes:
    return request("POST", "/events", AUTHORIZATION, f"Content-Type: {kind}", f"Content-Length: {length}")


async def test_unfinished_uploads_of_one_organisation_hold_its_share_and_no_more() -> None:
    world = World()
    async with client(world) as (http, server):
        clients = [await server.connect() for _ in range(20)]
        for one in clients[:2]:
            await one.send(upload(8 * MIB) + b" " * 100_000)
        await wait_all_tasks_blocked(0.05)
        for one in clients[2:]:
            await one.send(upload(8 * MIB))
            answer = await one.answer("POST")  # before any of the body was sent
            assert answer.status == 429
            assert int(answer.headers["retry-after"]) > 0
            assert json.loads(answer.body)["type"] == "urn:hookd:problem:too-many-bytes"
            assert answer.headers["connection"] == "close"
        assert len(world.bytes_in_hand) == 16 * MIB
        # Others go on, and so do small requests of the same organisation.
        large = f"[{','.join([event(json.dumps('x' * 100_000))] * 10)}]"
        other = bearer("publisher", org=OTHER_ORG)
        assert (await post(http, large, **other)).status_code == 202
        assert (await post(http, EVENT)).status_code == 202
        assert (await post(http, large)).status_code == 429
        for one in clients:
            await one.stream.aclose()
        await wait_all_tasks_blocked(0.05)
        assert len(world.bytes_in_hand) == 0
        assert (await post(http, large)).status_code == 202


async def test_who_had_large_bodies_refused_waits_before_the_next_one() -> None:
    seconds = 0.0
    world = World(bytes_in_hand=BytesInHand(clock=lambda: seconds))
    nothing = "x" * (7 * MIB)
    large = event(json.dumps("x" * 100_000))
    async with client(world) as (http, server):
        for _ in range(3):
            assert (await post(http, nothing)).status_code == 422
        one = await server.connect()
        await one.send(upload(8 * MIB))
        answer = await one.answer("POST")  # before any of the body was sent
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        assert json.loads(answer.body)["type"] == "urn:hookd:problem:too-many-bytes"
        # Small requests go on, and so do others, and the platform.
        assert (await post(http, EVENT)).status_code == 202
        assert (await post(http, large, **bearer("publisher", org=OTHER_ORG))).status_code == 202
        assert (await post(http, large, **bearer("platform"))).status_code == 202
        seconds = 5.0
        assert (await post(http, large)).status_code == 202


async def test_what_was_accepted_is_held_against_nobody() -> None:
    world = World()
    large = f"[{','.join([event(json.dumps('x' * 100_000))] * 70)}]"
    async with client(world) as (http, _):
        for _ in range(6):
            assert (await post(http, large)).status_code == 202


async def test_the_platform_is_bound_by_what_all_may_hold() -> None:
    world = World(bytes_in_hand=BytesInHand(500 * KIB, 100 * KIB))
    platform = bearer("platform")
    large = event(json.dumps("x" * 150 * KIB))
    async with client(world) as (http, server):
        assert (await post(http, large)).status_code == 429
        assert (await post(http, large, **platform)).status_code == 202
        one = await server.connect()
        await one.send(
            request(
                "POST",
                "/events",
                f"Authorization: {platform['Authorization']}",
                JSON,
                f"Content-Length: {450 * KIB}",
            )
        )
        await wait_all_tasks_blocked(0.05)
        answer = await post(http, large, **platform)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0


async def test_a_body_of_untold_length_is_counted_as_it_comes() -> None:
    world = World(bytes_in_hand=BytesInHand(500 * KIB, 100 * KIB))
    async with client(world) as (_, server):
        one = await server.connect()
        await one.send(request("POST", "/events", AUTHORIZATION, JSON, "Transfer-Encoding: chunked"))
        for _ in range(9):
            await one.send(b"2800\r\n" + b" " * 0x2800 + b"\r\n")
        await wait_all_tasks_blocked(0.05)
        assert 80 * KIB <= len(world.bytes_in_hand) <= 100 * KIB
        with suppress(trio.BrokenResourceError):
            for _ in range(3):
                await one.send(b"2800\r\n" + b" " * 0x2800 + b"\r\n")
        assert (await one.answer("POST")).status == 429
        await wait_all_tasks_blocked(0.05)
        assert len(world.bytes_in_hand) == 0


async def test_bytes_in_tiny_chunks_take_no_more_than_others() -> None:
    async with client(World()) as (_, server):
        one = await server.connect()
        await one.send(request("POST", "/events", AUTHORIZATION, JSON, "Transfer-Encoding: chunked"))
        await one.send(b"".join(b"1\r\n%c\r\n" % byte for byte in EVENT.encode()) + b"0\r\n\r\n")
        assert (await one.answer("POST")).status == 202


async def test_what_outgrows_its_text_is_counted() -> None:
    world = World(bytes_in_hand=BytesInHand(500 * KIB, 200 * KIB))
    async with client(world) as (http, _):
        many = (
            f"[{','.join([event(json.dumps('é' * 50_000, ensure_ascii=False))])}]"  # 3 times as long in ASCII
        )
        world.events.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, http, many)
            await world.events.waiting.wait()
            assert 300_000 <= len(world.bytes_in_hand) <= 300_200
            world.events.gate.set()
        assert len(world.bytes_in_hand) == 0


async def test_a_stream_holds_what_waits_for_the_store() -> None:
    world = World(bytes_in_hand=BytesInHand(4 * MIB, 3 * MIB))
    async with client(world) as (_, server):
        world.events.gate = trio.Event()
        streams = [await server.connect() for _ in range(2)]
        lines = (event(json.dumps("x" * 1000)) + "\n").encode() * 500
        for one in streams:
            await one.send(upload(100 * MIB, "application/x-ndjson") + lines)
        await world.events.waiting.wait()
        await wait_all_tasks_blocked(0.05)
        assert 2 * MIB <= len(world.bytes_in_hand) <= 3 * MIB
        third = await server.connect()
        await third.send(upload(100 * MIB, "application/x-ndjson") + lines)
        answer = await third.answer("POST")
        assert answer.status == 429
        assert json.loads(answer.body)["accepted"] == 0
        for one in [*streams, third]:
            await one.stream.aclose()
        world.events.gate.set()
        await wait_all_tasks_blocked(0.05)
        assert len(world.bytes_in_hand) == 0


async def test_answers_that_nobody_takes_are_counted() -> None:
    world = World(bytes_in_hand=BytesInHand(200 * KIB, 150 * KIB))
    admin = bearer("org_admin")
    async with client(world) as (http, server):
        for number in range(50):
            given: dict[str, Any] = {"url": f"https://example.com/{number}/{'x' * 2000}", "events": ["*"]}
            assert (await http.post("/webhooks", json=given, headers=admin)).status_code == 201
        ask = request("GET", "/webhooks?limit=50", f"Authorization: {admin['Authorization']}")
        deaf = await deaf_client(server)
        answered = 0
        while not len(world.bytes_in_hand):  # the kernel takes the first ones
            await deaf.send(ask)
            answered += 1
            await wait_all_tasks_blocked(0.01)
        assert answered < 1000
        answer = await http.get("/webhooks?limit=50", headers=admin)
        assert answer.status_code == 429
        assert (await http.get("/webhooks?limit=1", headers=admin)).status_code == 200
        await deaf.stream.aclose()
        await wait_all_tasks_blocked(0.05)
        assert len(world.bytes_in_hand) == 0


async def test_who_has_not_said_who_it_is_has_nothing_read() -> None:
    world = World()
    async with client(world) as (_, server):
        one = await server.connect()
        await one.send(request("POST", "/events", JSON, f"Content-Length: {8 * MIB}") + b" " * 1000)
        assert (await one.answer("POST")).status == 401
        assert len(world.bytes_in_hand) == 0


# The rest of a request.


async def test_http_1_0_has_no_transfer_codings() -> None:
    world = World()
    async with client(world) as (_, server):
        one = await server.connect()
        head = request(
            "POST", "/events", AUTHORIZATION, JSON, "Transfer-Encoding: chunked", "Connection: keep-alive"
        )
        await one.send(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"22\r\n" + EVENT.encode() + b"\r\n0\r\n\r\n")
        answer = await one.answer("POST")
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert await one.closed()
        assert not world.events.published


@pytest.mark.parametrize("access_log", [True, False])
async def test_lines_of_good_requests_can_be_left_out(
    access_log: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookd.api")
    async with client(World(settings=ApiSettings(TYPES, access_log=access_log))) as (http, _):
        await post(http, EVENT)
        await post(http, "[]")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("POST")]
    assert lines == [*(["POST /events 202"] if access_log else []), "POST /events 422"]
