"""POST /events with NDJSON and with an Idempotency-Key, over loopback, with events kept in memory."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from api.connection import ServerLimits
from api.ndjson import BATCH_LINES
from api.ndjson_publish import MAX_IDS
from api.services import ApiSettings
from daemon.schemas import load_schemas
from daemon.signing.canonical import parse
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from daemon.store.events import NewEvent, Once
from tests.integration.api.test_requests import EVENT, PLATFORM, PUBLISHER, client, pointers, problem
from tests.support.api_harness import (
    OTHER_ORG,
    TYPES,
    FakeEvents,
    RawClient,
    World,
    bearer,
    request,
    serving,
    token,
)

NDJSON = {**PUBLISHER, "Content-Type": "application/x-ndjson"}
GOOD = b'{"type": "match.proposed", "data": 1}'


def keyed(key: str, **headers: str) -> dict[str, str]:
    return {**PUBLISHER, "Idempotency-Key": key, **headers}


def stream_of(count: int) -> bytes:
    return b"".join(b'{"type": "match.proposed", "data": %d}\n' % number for number in range(count))


def numbers(events: Iterable[NewEvent]) -> list[Any]:
    return [json.loads(event.body)["data"] for event in events]


# Streams.


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
async def test_a_stream_is_published_in_order(media_type: str) -> None:
    world = World()
    async with client(world) as http:
        headers = {**NDJSON, "Content-Type": media_type}
        answer = await http.post("/events", content=stream_of(1234), headers=headers)
        assert answer.status_code == 202, answer.text
        ids = [str(event.id) for event in world.events.published]
        assert answer.json() == {"accepted": 1234, "ids": ids}
        assert numbers(world.events.published) == list(range(1234))
        assert ids == sorted(ids)
        assert world.wakes == 3


async def test_a_chunked_stream_with_blank_lines_and_without_a_last_line_end() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in [b"\r\n", GOOD[:10], GOOD[10:] + b"\r", b"\n \t\n", GOOD + b"\n\n", GOOD]:
            yield piece
            await trio.lowlevel.checkpoint()

    world = World()
    async with client(world) as http:
        answer = await http.post("/events", content=pieces(), headers=NDJSON)
        assert answer.json()["accepted"] == len(world.events.published) == 3


async def test_a_stream_may_be_longer_than_a_body() -> None:
    world = World(settings=ApiSettings(TYPES, max_body=1024, max_batch=3))
    async with client(world) as http:
        answer = await http.post("/events", content=stream_of(200), headers=NDJSON)
        assert answer.json()["accepted"] == 200


async def test_many_ids_are_not_told() -> None:
    world = World()
    async with client(world) as http:
        answer = await http.post("/events", content=stream_of(MAX_IDS + 1), headers=NDJSON)
        assert answer.json() == {"accepted": MAX_IDS + 1}
        answer = await http.post("/events", content=stream_of(MAX_IDS), headers=NDJSON)
        assert len(answer.json()["ids"]) == MAX_IDS


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n  \n"])
async def test_a_stream_without_events_is_refused(content: bytes) -> None:
    async with client(World()) as http:
        assert pointers(await http.post("/events", content=content, headers=NDJSON)) == [""]


@pytest.mark.parametrize(
    "media_type", ["application/json-seq", "text/plain", "application/x-ndjson; charset=latin-1"]
)
async def test_other_media_types_are_refused(media_type: str) -> None:
    async with client(World()) as http:
        answer = await http.post("/events", content=GOOD, headers={**NDJSON, "Content-Type": media_type})
        problem(answer, 415)
        assert "application/x-ndjson" in answer.headers["accept"]


@pytest.mark.parametrize(
    ("line", "pointer", "told"),
    [
        (b"{", "/601", "not JSON"),
        (b"nonsense", "/601", "column 1"),
        (b"\xff", "/601", "not UTF-8"),
        (b"\xef\xbb\xbf" + GOOD, "/601", "byte order mark"),
        (b"7", "/601", "object"),
        (b"[" + GOOD + b"]", "/601", "object"),
        (GOOD + GOOD, "/601", "Extra data"),
        (b'{"data": 1}', "/601/type", "missing"),
        (b'{"type": "match.propsed", "data": 1}', "/601/type", "match.proposed"),
        (b'{"type": "match.proposed", "data": "\\u0000"}', "/601/data", "NUL"),
        (b'{"type": "match.proposed", "data": "\x00"}', "/601", "control character"),
        (b'{"type": "match.proposed", "data": {"a": [1e999]}}', "/601/data/a/0", "double"),
        (b'{"type": "match.proposed", "data": ' + b"[" * 70 + b"]" * 70 + b"}", "/601", "nested deeper"),
        (b'{"type": "match.proposed", "data": "' + b"x" * 2000 + b'"}', "/601/data", "the most is 1500"),
        (b'{"type": "match.proposed", "data": "' + b"x" * 6000 + b'"}', "/601", "longer than 5596 bytes"),
        (b'{"type": "match.proposed", "data": [{"a": 1, "a": 2}]}', "/601/data/0", "key twice"),
        (b'{"type": "x", "data": 1, "type": "match.proposed"}', "/601", "key twice"),
        (b'{"type": "match.proposed", "data": 1, "key": ""}', "/601/key", "at least 1"),
        (b'{"type": "match.proposed", "data": 1, "dta": 1}', "/601/dta", "not a known field"),
    ],
)
async def test_a_bad_line_is_named_and_those_before_it_stay(line: bytes, pointer: str, told: str) -> None:
    world = World(settings=ApiSettings(TYPES, max_event=1500))
    async with client(world) as http:
        content = stream_of(600) + line + b"\n" + stream_of(5)
        document = problem(await http.post("/events", content=content, headers=NDJSON), 422)
        [error] = document["errors"]
        assert error["pointer"] == pointer
        assert told in error["detail"]
        assert document["type"] == "urn:hookd:problem:invalid-line"
        assert (document["line"], document["accepted"], document["accepted_through"]) == (601, 600, 600)
        assert document["ids"] == [str(event.id) for event in world.events.published]
        assert "unknown_lines" not in document
        assert numbers(world.events.published) == list(range(600))


async def test_integers_of_any_size_stay_exact_in_a_stream() -> None:
    world = World()
    async with client(world) as http:
        line = b'{"type": "match.proposed", "data": ' + b"9" * 6000 + b"}"
        assert (await http.post("/events", content=line, headers=NDJSON)).status_code == 202
        assert '"data":' + "9" * 6000 + "," in world.events.published[0].body


async def test_only_the_platform_streams_for_another_organisation() -> None:
    world = World()
    async with client(world) as http:
        line = json.dumps({**EVENT, "org_id": str(OTHER_ORG)}).encode()
        content = GOOD + b"\n" + line
        document = problem(await http.post("/events", content=content, headers=NDJSON), 403)
        assert (document["line"], document["accepted"]) == (2, 1)
        answer = await http.post("/events", content=content, headers={**NDJSON, **PLATFORM})
        assert answer.json()["accepted"] == 2
        assert world.events.published[-1].org_id == OTHER_ORG


async def test_the_body_is_read_no_faster_than_it_is_committed() -> None:
    world = World()
    world.events.gate = trio.Event()
    async with serving(world.app()) as server:
        publisher = await begun_stream(await server.connect())
        sent = 0
        with trio.move_on_after(0.5):
            for _ in range(2000):
                await publisher.send(chunk(stream_of(1500)))
                sent += 1
        assert 0 < sent < 1000, "the sender was never held up"
        assert world.events.waiting.is_set()
        assert world.events.published == []
        world.events.gate.set()


async def test_what_an_outage_leaves_open_is_told() -> None:
    class Failing(FakeEvents):
        async def publish(self, events: Any, once: Once | None = None) -> Any:
            if len(self.published) >= 2 * BATCH_LINES:
                raise DatabaseUnavailable("gone")
            return await super().publish(events, once)

    for key, advice in [("", "Go on from line 1001"), ("k", "same Idempotency-Key")]:
        world = World(events=Failing())
        async with client(world) as http:
            headers = {**NDJSON, **({"Idempotency-Key": key} if key else {})}
            answer = await http.post("/events", content=stream_of(1700), headers=headers)
            document = problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
            assert (document["accepted"], document["accepted_through"]) == (1000, 1000)
            assert document["unknown_lines"] == [1001, 1500]
            assert advice in document["detail"]


async def test_a_lost_race_is_run_again() -> None:
    class Racing(FakeEvents):
        lost = 0

        async def publish(self, events: Any, once: Once | None = None) -> Any:
            self.lost += 1
            if self.lost < 4:
                raise RetryTransaction("lost")
            return await super().publish(events, once)

    world = World(events=Racing())
    async with client(world) as http:
        assert (await http.post("/events", content=stream_of(3), headers=NDJSON)).json()["accepted"] == 3


async def test_a_client_that_goes_leaves_whole_batches_only() -> None:
    world = World()
    async with serving(world.app()) as server:
        publisher = await begun_stream(await server.connect())
        await publisher.send(chunk(stream_of(BATCH_LINES + 100)))
        await publisher.stream.aclose()
        with trio.fail_after(30):
            while len(world.events.published) < BATCH_LINES:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(world.events.published) == BATCH_LINES


async def test_a_stream_that_dribbles_is_cut_and_told_how_far_it_got() -> None:
    world = World()
    async with serving(world.app(), ServerLimits(read_timeout=0.3)) as server:
        publisher = await begun_stream(await server.connect())
        await publisher.send(chunk(stream_of(BATCH_LINES)))

        async def dribble() -> None:
            while True:
                await trio.sleep(0.05)
                await publisher.send(chunk(b" "))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dribble)
            answer = await publisher.answer("POST")
            nursery.cancel_scope.cancel()
        document = json.loads(answer.body)
        assert (answer.status, document["accepted"], document["accepted_through"]) == (408, 500, 500)


async def test_a_store_that_takes_longer_than_reading_may_does_not_cut_a_stream() -> None:
    world = World()
    world.events.gate = trio.Event()
    async with serving(world.app(), ServerLimits(read_timeout=0.2)) as server:
        publisher = await begun_stream(await server.connect())
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(8):
                    await publisher.send(chunk(stream_of(1500)))
                await publisher.send(b"0\r\n\r\n")

            nursery.start_soon(send)
            await world.events.waiting.wait()
            await trio.sleep(0.5)
            world.events.gate.set()
            answer = await publisher.answer("POST")
        assert (answer.status, json.loads(answer.body)["accepted"]) == (202, 12_000)


# Requests that are safe to repeat.


@pytest.mark.parametrize("content", [EVENT, [EVENT, EVENT]])
async def test_the_same_request_gets_the_same_answer(content: object) -> None:
    world = World()
    async with client(world) as http:
        first = await http.post("/events", json=content, headers=keyed('"k-1"'))
        assert first.status_code == 202
        count = len(world.events.published)
        for key in ['"k-1"', "k-1"]:
            again = await http.post("/events", json=content, headers=keyed(key))
            assert (again.status_code, again.json()) == (202, first.json())
        assert len(world.events.published) == count


async def test_another_body_under_the_same_key_is_refused() -> None:
    world = World()
    async with client(world) as http:
        await http.post("/events", json=EVENT, headers=keyed("k"))
        answer = await http.post("/events", json={**EVENT, "data": 2}, headers=keyed("k"))
        assert problem(answer, 422)["type"] == "urn:hookd:problem:idempotency-key-reused"
        stranger = {**bearer("publisher", org=OTHER_ORG), "Idempotency-Key": "k"}
        assert (await http.post("/events", json={**EVENT, "data": 2}, headers=stranger)).status_code == 202
        assert len(world.events.published) == 2


async def test_a_request_that_runs_already_gets_409() -> None:
    world = World()
    world.events.gate = trio.Event()
    async with client(world) as http, trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def first() -> None:
            answers.append(await http.post("/events", json=EVENT, headers=keyed("k")))

        nursery.start_soon(first)
        await world.events.waiting.wait()
        busy = await http.post("/events", json=EVENT, headers=keyed("k"))
        assert problem(busy, 409)["type"] == "urn:hookd:problem:idempotency-key-in-use"
        assert busy.headers["retry-after"] == "1"
        world.events.gate.set()
    assert answers[0].status_code == 202
    assert len(world.events.published) == 1


@pytest.mark.parametrize("key", ["", "a b", "a,b", '"a', "k" * 256])
async def test_a_bad_key_gets_400(key: str) -> None:
    world = World()
    async with client(world) as http:
        problem(await http.post("/events", json=EVENT, headers=keyed(key)), 400)
        twice = [*keyed("a").items(), ("Idempotency-Key", "a")]
        problem(await http.post("/events", json=EVENT, headers=twice), 400)
        assert not world.events.published


async def test_a_refused_request_does_not_use_its_key_up() -> None:
    async with client(World()) as http:
        problem(await http.post("/events", json={**EVENT, "type": "x"}, headers=keyed("k")), 422)
        assert (await http.post("/events", json=EVENT, headers=keyed("k"))).status_code == 202


async def test_a_stream_sent_again_publishes_only_what_is_new() -> None:
    world = World()
    headers = {**NDJSON, "Idempotency-Key": "s"}
    async with client(world) as http:
        first = await http.post("/events", content=stream_of(1000), headers=headers)
        again = await http.post("/events", content=stream_of(1000), headers=headers)
        assert again.json() == first.json()
        assert len(world.events.published) == 1000
        longer = await http.post("/events", content=stream_of(1300), headers=headers)
        assert longer.json()["ids"][:1000] == first.json()["ids"]
        assert numbers(world.events.published) == list(range(1300))


async def test_another_stream_under_the_same_key_is_refused_where_it_differs() -> None:
    world = World()
    headers = {**NDJSON, "Idempotency-Key": "s"}
    async with client(world) as http:
        await http.post("/events", content=stream_of(1000), headers=headers)
        other = stream_of(700) + stream_of(300)
        document = problem(await http.post("/events", content=other, headers=headers), 422)
        assert document["type"] == "urn:hookd:problem:idempotency-key-reused"
        assert (document["accepted"], document["accepted_through"]) == (500, 500)
        assert len(world.events.published) == 1000


@pytest.mark.parametrize("blanks", [b"\n", b"\n" * 700])
async def test_blank_lines_before_a_stream_make_it_another_one(blanks: bytes) -> None:
    world = World()
    headers = {**NDJSON, "Idempotency-Key": "s"}
    async with client(world) as http:
        await http.post("/events", content=stream_of(600), headers=headers)
        for content in [blanks + stream_of(600), blanks + stream_of(3)]:
            document = problem(await http.post("/events", content=content, headers=headers), 422)
            assert document["type"] == "urn:hookd:problem:idempotency-key-reused"
        assert len(world.events.published) == 600


# Schemas.


async def test_data_is_held_to_the_schema_of_its_type(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object", "properties": {"score": {"maximum": 1}}, "required": ["score"]}')
    schemas = load_schemas({"match.proposed": str(file)})
    world = World(settings=ApiSettings(TYPES, schemas=schemas))
    good, bad = {**EVENT, "data": {"score": 1}}, {**EVENT, "data": {"score": 2}}
    async with client(world) as http:
        assert (await http.post("/events", json=good, headers=PUBLISHER)).status_code == 202
        assert pointers(await http.post("/events", json=bad, headers=PUBLISHER)) == ["/data/score"]
        many = [good, bad, EVENT]
        assert pointers(await http.post("/events", json=many, headers=PUBLISHER)) == [
            "/1/data/score",
            "/2/data",
        ]
        content = b"\n".join(json.dumps(event).encode() for event in (good, good, bad))
        assert pointers(await http.post("/events", content=content, headers=NDJSON)) == ["/3/data/score"]
        free = {"type": "placement.created", "data": {"score": 2}}
        assert (await http.post("/events", json=free, headers=PUBLISHER)).status_code == 202
        assert parse(world.events.published[0].body, max_depth=5)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def begun_stream(publisher: RawClient) -> RawClient:
    """Send the header of a chunked stream."""
    fields = ("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")
    await publisher.send(request("POST", "/events", *fields, f"Authorization: Bearer {token('publisher')}"))
    return publisher
