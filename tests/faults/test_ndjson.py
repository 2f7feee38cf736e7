"""A stream much larger than the memory: taken at the pace of Postgres, and honest about a broken line."""

import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import trio

from tests.support.api_harness import RawClient, request
from tests.support.daemon import Daemon, running, token
from tests.support.postgres import Session
from tests.support.publishing import rows
from tests.support.scale import scale

SIZE = scale(30_000_000, 500_000_000)
PIECE = 256 * 1024
MAX_MEMORY = 250 * 1000**2
MAX_HELD = 16 * 1000**2
"""Bytes that the buffers of both sockets may take beside a batch and a piece."""
HELD_UP = "select exists (select from pg_locks where relation = 'hookd.inbox'::regclass and not granted)"
BROKEN = b'{"type": "match.proposed", "data": {"cut":'


def lines(size: int) -> Iterator[bytes]:
    """Yield so many bytes of events, from small ones to some of 100 kB."""
    chance = random.Random(20261123)
    sent = number = 0
    while sent < size:
        length = 100_000 if chance.random() < 0.001 else chance.randrange(100, 4000)
        event = {"type": "match.proposed", "data": {"number": number, "text": "x" * length}}
        line = json.dumps(event).encode() + b"\n"
        number += 1
        sent += len(line)
        yield line


async def test_a_stream_larger_than_the_memory(
    tmp_path: Path, postgres_url: str, connect: Callable[[], Awaitable[Session]]
) -> None:
    org, locker = uuid4(), await connect()
    sent = count = most = 0
    a_third = trio.Event()

    async with running(tmp_path, postgres_url) as daemon:
        publisher = await begun(daemon, org)

        async def send() -> None:
            nonlocal sent, count, most
            piece = bytearray()
            for line in lines(SIZE):
                piece += line
                count += 1
                if len(piece) >= PIECE:
                    await publisher.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                    sent += len(piece)
                    piece.clear()
                    if sent >= SIZE / 3:
                        a_third.set()
                    most = max(most, daemon.resident())
            piece += BROKEN
            await publisher.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece))

        begin = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await a_third.wait()
            await locker.begin()
            await locker.execute("lock table hookd.inbox in exclusive mode")
            at_lock, at_rest = sent, -1
            with trio.fail_after(60):
                while not await locker.fetchval(HELD_UP):  # noqa: ASYNC110  (what is awaited is Postgres')
                    await trio.sleep(0.02)
            # Whatever more is taken while nothing can be kept lies in memory; a pause that is too short for
            # this machine makes the test miss a fault, and never find one that is not there.
            while at_rest != sent:
                at_rest = sent
                await trio.sleep(0.5)
            held = at_rest - at_lock
            await locker.rollback()
        answer = await publisher.answer("POST")
        took = time.monotonic() - begin
        most = max(most, daemon.resident())
        assert await daemon.stop() == 0
    (kept,) = await rows(postgres_url, "select count(*) from hookd.event")
    print(
        f"\n{sent / 1e6:.0f} MB in {count} lines in {took:.1f} s ({count / took:.0f} a second): at most"
        f" {most / 1e6:.0f} MB of memory; with Postgres locked, {held / 1e6:.1f} MB more were taken"
    )
    document = json.loads(answer.body)
    assert (answer.status, document["type"]) == (422, "urn:hookd:problem:invalid-line")
    assert (document["line"], document["errors"][0]["pointer"]) == (count + 1, f"/{count + 1}")
    assert document["accepted"] == document["accepted_through"] == kept[0] == count
    assert "ids" not in document or len(document["ids"]) == count
    assert held < MAX_HELD
    assert most < MAX_MEMORY


async def begun(daemon: Daemon, org: UUID) -> RawClient:
    """Connect and send the header of a stream."""
    host, _, port = daemon.address.removeprefix("http://").rpartition(":")
    publisher = RawClient(await trio.open_tcp_stream(host, int(port)))
    fields = ("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")
    await publisher.send(
        request("POST", "/events", *fields, f"Authorization: Bearer {token(org, 'publisher')}")
    )
    return publisher
