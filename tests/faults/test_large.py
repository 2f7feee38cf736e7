"""Events as large as they may be, to receivers that keep them waiting: memory is bounded, and all arrive."""

# Covers daemon.delivery.large_bodies.

import hashlib
from pathlib import Path
from uuid import uuid4

import trio

from tests.support.daemon import running
from tests.support.receiver import Received, Reply, receiving
from tests.support.scale import scale

EVENTS = scale(50, 300)
SIZE = 1_000_000
MAX_MEMORY = 250 * 1000**2


async def test_many_large_events_to_slow_receivers(tmp_path: Path, postgres_url: str) -> None:
    most = 0
    bodies: dict[str, str] = {}
    published = trio.Event()

    async def answer(request: Received) -> Reply:
        nonlocal most
        bodies[request.event_id] = hashlib.sha256(request.body).hexdigest()
        request.body = b""
        await published.wait()
        most = max(most, daemon.resident())
        return Reply()

    org = uuid4()
    async with (
        receiving(answer, ports=5) as receiver,
        running(tmp_path, postgres_url, delivery__timeout="10m") as daemon,
    ):
        for port in range(5):
            await daemon.register(org, receiver.url("/", port=port), ["match.proposed"])
        async with daemon.client(org, "publisher") as client:
            for number in range(EVENTS):
                event = {"type": "match.proposed", "data": {"number": number, "text": "x" * SIZE}}
                assert (await client.post("/events", json=event)).status_code == 202
        await receiver.until(lambda: len(receiver.requests) >= 5, 60)
        most = daemon.resident()
        published.set()
        await receiver.until(lambda: len(receiver.requests) >= 5 * EVENTS, 120)
        assert await daemon.stop() == 0
    print(f"\n{EVENTS} events of 1 MB to 5 slow receivers: at most {most / 1e6:.0f} MB of memory")
    assert (
        len({(one.port, one.event_id) for one in receiver.requests}) == len(receiver.requests) == 5 * EVENTS
    )
    assert len(set(bodies.values())) == EVENTS
    assert most < MAX_MEMORY
