"""SIGTERM under full load: everything is written down, nothing sent again, and nothing needless awaited."""

import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import trio

from daemon.process.signals import SAME_SIGNAL
from tests.faults.test_kill import owed_nothing
from tests.support.daemon import running
from tests.support.publishing import publish_many, rows
from tests.support.receiver import Received, Reply, hang, receiving
from tests.support.scale import scale

EVENTS = scale(3_000, 20_000)
NEVER = "10m"
"""A setting's time that no test waits for: what a test awaits must come long before."""


async def test_sigterm_under_load(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        await trio.sleep(0.05)
        return Reply()

    org = uuid4()
    async with (
        receiving(answer, ports=4) as receiver,
        running(tmp_path, postgres_url, daemon__stop_timeout=NEVER) as daemon,
    ):
        for port in range(4):
            await daemon.register(org, receiver.url("/", port=port))
        await publish_many(postgres_url, org, EVENTS // 4)
        await receiver.until(lambda: len(receiver.requests) >= EVENTS // 4, 60)
        begin = time.monotonic()
        assert await daemon.stop() == 0
        took = time.monotonic() - begin
        sent = len(receiver.requests)
        (written,) = await rows(postgres_url, "select count(*) from hookd.attempt where succeeded")
        (leased,) = await rows(postgres_url, "select count(*) from hookd.delivery where lease is not null")
        print(f"\nstopped in {took:.2f} s: {sent} answered, {written[0]} recorded, {leased[0]} leased")
        assert written[0] == sent
        assert leased[0] == 0
        await daemon.start()
        await receiver.until(lambda: len(receiver.requests) >= EVENTS, 120)
        await owed_nothing(postgres_url, 30)
        assert await daemon.stop() == 0
    assert set(Counter((one.port, one.event_id) for one in receiver.requests).values()) == {1}


async def test_a_hung_receiver_does_not_hold_up_the_stop(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving(hang) as receiver,
        running(tmp_path, postgres_url, daemon__stop_timeout="2s", delivery__timeout=NEVER) as daemon,
    ):
        await daemon.register(org, receiver.url())
        await publish_many(postgres_url, org, 5)
        await receiver.until(lambda: len(receiver.requests) >= 1, 20)
        assert await daemon.stop() == 0
    history = await rows(postgres_url, "select error, ended, next_attempt_at from hookd.attempt")
    assert [(row["error"], row["ended"]) for row in history] == [("interrupted", None)]
    owed = await rows(postgres_url, "select lease, failures from hookd.delivery")
    assert [(row["lease"], row["failures"]) for row in owed] == [(None, 0)] * 5


async def test_a_second_signal_ends_at_once(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving(hang) as receiver,
        running(tmp_path, postgres_url, daemon__stop_timeout=NEVER, delivery__timeout=NEVER) as daemon,
    ):
        await daemon.register(org, receiver.url())
        await publish_many(postgres_url, org, 1)
        await receiver.until(lambda: len(receiver.requests) >= 1, 20)
        assert daemon.process is not None
        daemon.process.terminate()
        await daemon.said("stopping")
        await trio.sleep(2 * SAME_SIGNAL)  # a second one within that time counts as the first one again
        assert await daemon.stop() == 1
