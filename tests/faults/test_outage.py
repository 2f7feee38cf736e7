"""Postgres stops for a while under load and comes back: the daemon lives, says so, and loses nothing."""

from collections import Counter
from pathlib import Path
from uuid import uuid4

import httpx
import trio

from daemon.store.embedded import Embedded
from tests.faults.test_kill import owed_nothing
from tests.support.daemon import Daemon, running
from tests.support.postgres import FAST, reachable_directory
from tests.support.publishing import publish_many, rows
from tests.support.receiver import Received, Reply, receiving
from tests.support.scale import scale

EVENTS = scale(2_000, 20_000)
OUTAGE = scale(4.0, 20.0)
CONCURRENCY = 64


async def test_postgres_stops_and_comes_back_under_load(tmp_path: Path) -> None:
    async def answer(request: Received) -> Reply:
        await trio.sleep(0.02)
        return Reply()

    org = uuid4()
    with reachable_directory() as directory:
        # a crash must lose no committed event here, so this server is as durable as a real one
        settings = {key: FAST[key] for key in ("autovacuum_naptime", "max_connections")}
        server = Embedded(directory, settings)
        async with (
            receiving(answer, ports=4) as receiver,
            running(
                tmp_path,
                server.url,
                delivery__concurrency=CONCURRENCY,
                delivery__timeout="2s",
                hosts__rate=EVENTS / 20,
            ) as daemon,
        ):
            for port in range(4):
                await daemon.register(org, receiver.url("/", port=port))
            ids = await publish_many(server.url, org, EVENTS // 4)
            await receiver.until(lambda: len(receiver.requests) >= EVENTS // 4, 60)
            (held,) = await rows(server.url, "select count(*) from hookd.delivery where lease is not null")
            await trio.to_thread.run_sync(server.close)
            assert await readiness(daemon, 503, 10) == 503
            await trio.sleep(OUTAGE)
            assert daemon.process is not None
            assert daemon.process.returncode is None
            assert (await daemon_get(daemon, "/health/live")).status_code == 200
            server = Embedded(directory, settings)
            assert await readiness(daemon, 200, 20) == 200

            def all_came() -> bool:
                requests = receiver.requests
                return (
                    len(requests) >= EVENTS and len({(one.port, one.event_id) for one in requests}) == EVENTS
                )

            await receiver.until(all_came, 120)
            await owed_nothing(server.url, 60)
            assert await daemon.stop() == 0
        server.close()
    counts = Counter((one.port, one.event_id) for one in receiver.requests)
    duplicates = sum(counts.values()) - len(counts)
    print(f"\n{EVENTS} deliveries over an outage of {OUTAGE:g} s: {duplicates} duplicates, {held[0]} leased")
    assert {event for _, event in counts} == set(ids)
    assert duplicates <= CONCURRENCY


async def daemon_get(daemon: Daemon, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=daemon.address, trust_env=False) as client:
        return await client.get(path)


async def readiness(daemon: Daemon, wanted: int, seconds: float) -> int:
    """Ask until the answer is `wanted`, at most so long; return the last answer's status."""
    status = 0
    with trio.move_on_after(seconds):
        while status != wanted:
            status = (await daemon_get(daemon, "/health/ready")).status_code
            await trio.sleep(0.1)
    return status
