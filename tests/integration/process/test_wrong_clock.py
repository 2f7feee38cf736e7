"""Daemons on machines whose clock is wrong: all goes by Postgres'."""

# Covers daemon.store.database_clock.

import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from daemon.rfc3339 import rfc3339
from daemon.uuid7 import uuid7_time
from tests.support.daemon import Daemon, running
from tests.support.postgres import Session
from tests.support.receiver import Received, Reply, receiving
from tests.support.verifying import Verifying

ROOT = Path(__file__).parents[3]
DAY = 86400.0
NEAR = 60.0
"""Seconds within which a time is the right one: far less than the clocks are wrong by."""
ORG = uuid4()
Connect = Callable[[], Awaitable[Session]]


async def published(daemon: Daemon) -> UUID:
    async with daemon.client(ORG, "publisher") as client:
        answer = await client.post("/events", json={"type": "match.proposed", "data": 1})
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])


async def offset(daemon: Daemon) -> float:
    async with daemon.client(ORG) as client:
        text = (await client.get("/metrics")).text
    [family] = [
        one for one in text_string_to_metric_families(text) if one.name == "hookd_clock_offset_seconds"
    ]
    return family.samples[0].value


@pytest.mark.parametrize("ahead, words", [
    (40 * DAY, "40 days 0 h ahead of"),
    (600.0, "10 min 0 s ahead of"),
    (-600.0, "10 min 0 s behind"),
    (-400 * DAY, "400 days 0 h behind"),
])  # fmt: skip
async def test_a_daemon_whose_clock_is_wrong_does_all_as_if_it_were_right(
    tmp_path: Path, postgres_url: str, connect: Connect, ahead: float, words: str
) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now() - interval '7 days', now() + interval '7 days')")
    older = await session.fetchval("select hookd.publish($1, 'match.proposed', '1')", ORG)
    behaviour = Verifying()
    refusing = 0

    async def answer(request: Received) -> Reply:
        nonlocal refusing
        if request.path == "/refusing":
            refusing += 1
            return Reply(500)
        return await behaviour(request)

    async with (
        receiving(answer) as receiver,
        running(tmp_path, postgres_url, clock_ahead=ahead) as daemon,
        daemon.client(ORG, "org_admin") as client,
    ):
        await daemon.said(f"the clock of this machine is {words} Postgres'")
        assert abs(await offset(daemon) - ahead) < NEAR
        ready = (await client.get("/health/ready")).json()
        assert {
            "name": "clock",
            "ok": True,
            "detail": f"the clock of this machine is {words} Postgres'",
        } in ready["checks"]

        subscription = await daemon.register(ORG, receiver.url("/good"))
        behaviour.secret = subscription["secret"]
        event = await published(daemon)
        assert abs(uuid7_time(event).timestamp() - time.time()) < NEAR
        await receiver.until(lambda: bool(receiver.requests), 30)
        assert abs(int(receiver.requests[0].headers["webhook-timestamp"]) - time.time()) < NEAR
        tested = await client.post(f"/webhooks/{subscription['id']}/test")
        assert tested.json()["delivered"], tested.text
        assert behaviour.handled == [str(event), tested.json()["event_id"]], "its signature was refused"

        hour_ago = rfc3339(datetime.now(UTC) - timedelta(hours=1))
        replay = await client.post(f"/webhooks/{subscription['id']}/replay", json={"from": hour_ago})
        assert replay.status_code == 202, replay.text
        assert replay.json()["total"] >= 1

        refused = await daemon.register(ORG, receiver.url("/refusing"))
        await published(daemon)
        await receiver.until(lambda: bool(refusing), 30)
        with trio.fail_after(30):
            attempts: list[dict[str, str]] = []
            while not attempts:
                answer_ = await client.get(f"/webhooks/{refused['id']}/deliveries", params={"from": hour_ago})
                attempts = answer_.json()["data"]
        assert attempts[0]["attempted_at"] < attempts[0]["next_attempt_at"]
        assert await daemon.stop() == 0

    kept = {row["id"] for row in await session.fetch("select id from hookd.event")}
    assert {older, event} <= kept
    assert await session.fetchval("select count(*) from hookd.attempt where error = 'expired'") == 0
    assert await session.fetchval("select count(*) from hookd.attempt") >= 2
    assert "Traceback" not in daemon.log.read_text()


async def test_publishing_by_the_command_goes_by_postgres_too(
    tmp_path: Path, postgres_url: str, connect: Connect
) -> None:
    session = await connect()
    await session.execute("update hookd.publishing set types = '{}'")
    line = '{"type": "match.proposed", "data": 1}\n'
    (tmp_path / "events").write_text(line)
    for given in (["--type", "match.proposed"], [str(tmp_path / "events")]):
        command = [sys.executable, "-m", "tests.support.wrong_clock", str(-400 * DAY), "publish"]
        command += ["--org", str(ORG), "--set", f"database.url={json.dumps(postgres_url)}"]
        command += ["--set", f"state.directory={json.dumps(str(tmp_path))}", *given]
        done = await trio.run_process(command, capture_stdout=True, cwd=ROOT)
        assert abs(uuid7_time(UUID(done.stdout.decode().strip())).timestamp() - time.time()) < NEAR
