"""Publishers' transactions: rolled back they deliver nothing, and open for long they delay nobody."""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import trio

from tests.support.daemon import running
from tests.support.publishing import publish_many, with_postgres
from tests.support.receiver import receiving
from tests.support.scale import scale

EVENTS = scale(80, 1_000)
PUBLISH = "select hookd.publish($1, 'match.proposed', $2::jsonb)"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def test_a_transaction_that_stays_open_delays_nobody(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()

    async def undone(connection: Connection) -> str:
        transaction = connection.transaction()
        await transaction.start()
        event = await connection.fetchval(PUBLISH, org, "{}")
        await transaction.rollback()
        return str(event)

    async def open_for_long(connection: Connection) -> str:
        async with connection.transaction():
            event = await connection.fetchval(PUBLISH, org, "{}")
            main.run_sync_soon(opened.set)
            await asyncio.to_thread(ends.wait)
        return str(event)

    async def publish_one_by_one(connection: Connection) -> list[str]:
        return [
            str(await connection.fetchval(PUBLISH, org, json.dumps({"number": number})))
            for number in range(EVENTS)
        ]

    opened, ends, main = trio.Event(), threading.Event(), trio.lowlevel.current_trio_token()
    async with receiving() as receiver, running(tmp_path, postgres_url, hosts__rate=1000) as daemon:
        await daemon.register(org, receiver.url())
        (warm,) = await publish_many(postgres_url, org, 1)
        rolled_back = await with_postgres(postgres_url, undone)
        late: list[str] = []

        async def keep_open() -> None:
            late.append(await with_postgres(postgres_url, open_for_long))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_open)
            await opened.wait()
            try:
                ids = await with_postgres(postgres_url, publish_one_by_one)
                await receiver.until(lambda: len(receiver.requests) >= 1 + EVENTS, 60)
                assert sorted(one.event_id for one in receiver.requests) == sorted([warm, *ids])
            finally:
                ends.set()
        await receiver.until(lambda: len(receiver.requests) >= 2 + EVENTS, 30)
        assert await daemon.stop() == 0
    received = [one.event_id for one in receiver.requests]
    assert sorted(received) == sorted([warm, *ids, *late])
    assert rolled_back not in received


async def test_one_event_for_ten_thousand_subscriptions(tmp_path: Path, postgres_url: str) -> None:
    width = scale(1_000, 10_000)
    org = uuid4()
    async with receiving() as receiver, running(tmp_path, postgres_url, hosts__rate=100_000) as daemon:
        async with daemon.client(org, "org_admin") as client:
            for number in range(width):
                answer = await client.post(
                    "/webhooks/", json={"url": receiver.url(f"/{number}"), "events": ["match.proposed"]}
                )
                assert answer.status_code == 201, answer.text

        async def publish(connection: Connection) -> float:
            await connection.fetchval("select 1")
            begin = time.monotonic()
            await connection.fetchval(PUBLISH, org, "{}")
            return time.monotonic() - begin

        took = await with_postgres(postgres_url, publish)
        begin = time.monotonic()
        await receiver.until(lambda: len(receiver.requests) >= width, 90)
        delivered = time.monotonic() - begin
        memory = daemon.resident()
        assert await daemon.stop() == 0
    print(
        f"\none event for {width} subscriptions: published in {took * 1000:.1f} ms, delivered in"
        f" {delivered:.1f} s, memory {memory / 1024**2:.0f} MiB"
    )
    assert len({one.path for one in receiver.requests}) == len(receiver.requests) == width
    assert memory < 200 * 1000**2
