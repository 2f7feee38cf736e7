"""Requests with an Idempotency-Key against Postgres, and against the daemon as a process that is killed."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import trio

from daemon.store.database import Database
from daemon.store.events import Events, NewEvent, Once, OtherRequest, StillRunning
from daemon.store.upkeep import forget_keys, make_partitions
from daemon.uuid7 import uuid7
from tests.support.daemon import Daemon, running
from tests.support.postgres import Session
from tests.support.publishing import rows

Connect = Callable[[], Awaitable[Session]]
ORG = uuid4()
AGE = "update hookd.idempotency set created_at = created_at - $1::text::interval"
EVENT = {"type": "match.proposed", "data": {"n": 1}}


def event(org: UUID = ORG, key: str | None = None) -> NewEvent:
    return NewEvent(uuid7(), org, "match.proposed", "{}", key)


def once(key: str = "k", body: bytes = b"body", part: int = 0, org: UUID = ORG) -> Once:
    return Once(org, key, hashlib.sha256(body).digest(), part)


# The store.


@pytest.fixture
async def events(database: Database) -> Events:
    """A store with room for the events of today."""
    await database.run(lambda connection: make_partitions(connection, database))
    return Events(database)


async def test_the_second_time_gives_the_first_ids(events: Events, connect: Connect) -> None:
    session = await connect()
    first = await events.publish([event(), event()], once())
    assert await events.publish([event(), event()], once()) == first
    assert await session.fetchval("select count(*) from hookd.event") == 2
    assert await session.fetchval("select count(*) from hookd.inbox") == 2


async def test_organisations_keys_and_parts_are_apart(events: Events, connect: Connect) -> None:
    session = await connect()
    for one in [once("a"), once("b"), once("a", org=uuid4()), once("s", part=1), once("s", part=501)]:
        await events.publish([event()], one)
    assert await session.fetchval("select count(*) from hookd.event") == 5


async def test_another_body_is_refused_and_publishes_nothing(events: Events, connect: Connect) -> None:
    session = await connect()
    await events.publish([event()], once("whole"))
    await events.publish([event()], once("stream", part=1))
    for other in [
        once("whole", b"other"),
        once("whole", part=1),
        once("stream"),
        once("stream", b"x", part=1),
    ]:
        with pytest.raises(OtherRequest):
            await events.publish([event()], other)
    assert await session.fetchval("select count(*) from hookd.event") == 2


async def test_an_event_with_a_known_key_keeps_its_id_in_the_answer(events: Events) -> None:
    [known] = await events.publish([event(key="e")])
    assert await events.publish([event(key="e")], once()) == [known]
    assert await events.publish([event(key="e")], once()) == [known]


async def test_while_the_first_is_running_the_second_is_told_so(events: Events, connect: Connect) -> None:
    session = await connect()
    await session.begin()
    new = event()
    await session.fetch(
        "select * from hookd.publish_once($1, 'k', 0, 'f', $2, $3, $4, $5, $6, $7)",
        *(ORG, [new.id], [ORG], [new.type], [new.body], [None], [None]),
    )
    with pytest.raises(StillRunning):
        await events.publish([event()], once())
    await events.publish([event()], once("another"))
    await session.rollback()
    # What did not commit left nothing behind: neither the event nor the wish to publish it.
    [made] = await events.publish([event()], once())
    assert made != new.id
    assert await session.fetchval("select count(*) from hookd.event") == 2


async def test_after_a_day_a_key_is_free_again(database: Database, events: Events, connect: Connect) -> None:
    session = await connect()
    [first] = await events.publish([event()], once())
    await session.execute(
        "update hookd.idempotency set created_at = created_at - interval '23 hours 59 minutes'"
    )
    await forget_keys(database)
    assert await events.publish([event()], once()) == [first]
    await session.execute(AGE, "1 minute")
    [second] = await events.publish([event()], once(body=b"other"))
    assert second != first
    assert await events.publish([event()], once(body=b"other")) == [second]
    await session.execute(AGE, "1 day")
    await forget_keys(database)
    assert await session.fetchval("select count(*) from hookd.idempotency") == 0


# The daemon.


async def test_a_hundred_at_once_publish_one_event(tmp_path: Path, postgres_url: str) -> None:
    org, statuses, answers = uuid4(), Counter[int](), set[str]()
    async with running(tmp_path, postgres_url) as daemon, daemon.client(org, "publisher") as client:

        async def send() -> None:
            answer = await client.post("/events", json=EVENT, headers={"Idempotency-Key": "one"})
            statuses[answer.status_code] += 1
            if answer.status_code == 202:
                answers.add(answer.text)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(send)
        assert set(statuses) <= {202, 409}
        assert statuses[202] >= 1
        await send()
        different = {**EVENT, "data": {"n": 2}}
        other = await client.post("/events", json=different, headers={"Idempotency-Key": "one"})
        assert await daemon.stop() == 0
    print(f"\n100 requests at once with one key: {dict(statuses)}")
    assert (other.status_code, other.json()["type"]) == (422, "urn:hookd:problem:idempotency-key-reused")
    assert len(answers) == 1
    [row] = await rows(postgres_url, "select id from hookd.event")
    assert json.loads(answers.pop()) == {"id": str(row["id"])}


async def test_kill_9_in_the_middle_leaves_one_event(tmp_path: Path, postgres_url: str) -> None:
    chance, org, rounds = random.Random(20261123), uuid4(), 8
    answered: dict[str, str] = {}
    async with running(tmp_path, postgres_url) as daemon:
        for number in range(rounds):
            key = f"round-{number}"
            sent = trio.Event()

            async def send(key: str = key, sent: trio.Event = sent) -> None:
                try:
                    async with daemon.client(org, "publisher") as client:
                        sent.set()
                        answer = await client.post("/events", json=EVENT, headers={"Idempotency-Key": key})
                        if answer.status_code == 202:
                            answered[key] = answer.json()["id"]
                except httpx.TransportError:
                    pass

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(send)
                await sent.wait()
                await trio.sleep(chance.uniform(0, 0.03))
                daemon.kill()
                await daemon.ended()
            await daemon.start()
            before = answered.get(key)
            retried = await repeated(daemon, org, key)
            assert before in (None, retried)
        assert await daemon.stop() == 0
    counts = await rows(postgres_url, "select count(*) as events from hookd.event")
    kept = await rows(postgres_url, "select key, event_ids from hookd.idempotency order by key")
    print(
        f"\n{rounds} kills: {counts[0]['events']} events for {rounds} keys, {len(answered)} answered before"
    )
    assert counts[0]["events"] == rounds
    assert [row["key"] for row in kept] == sorted(f"round-{number}" for number in range(rounds))


async def test_a_stream_that_a_kill_cut_is_taken_up_again(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    content = b"".join(b'{"type": "match.proposed", "data": %d}\n' % number for number in range(20_000))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "stream"}
    async with running(tmp_path, postgres_url) as daemon:

        async def send() -> None:
            try:
                async with daemon.client(org, "publisher") as client:
                    await client.post("/events", content=content, headers=headers)
            except httpx.TransportError:
                pass

        for part in [3, 17]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                with trio.fail_after(20):
                    while await kept(postgres_url) < part:  # noqa: ASYNC110
                        await trio.sleep(0.005)
                daemon.kill()
                await daemon.ended()
            await daemon.start()
        before = await kept(postgres_url)
        async with daemon.client(org, "publisher") as client:
            answer = await client.post("/events", content=content, headers=headers)
            again = await client.post("/events", content=content, headers=headers)
        assert await daemon.stop() == 0
    assert answer.json() == again.json() == {"accepted": 20_000}
    bodies = await rows(postgres_url, "select body from hookd.event order by id")
    print(f"\n20000 lines over two kills: {before} of 40 batches were there before the last request")
    assert before < 40
    assert sorted(json.loads(row["body"])["data"] for row in bodies) == list(range(20_000))


async def kept(url: str) -> int:
    (count,) = await rows(url, "select count(*) from hookd.idempotency")
    return int(count[0])


async def repeated(daemon: Daemon, org: UUID, key: str) -> str:
    """Send the request until no other one is at it; return the event's id."""
    async with daemon.client(org, "publisher") as client:
        while True:
            answer = await client.post("/events", json=EVENT, headers={"Idempotency-Key": key})
            if answer.status_code != 409:
                assert answer.status_code == 202, answer.text
                return str(answer.json()["id"])
            await trio.sleep(0.05)
