"""kill -9 at random moments: nothing is lost, and what comes twice was in flight at a kill."""

import random
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid4

import trio

from tests.support.daemon import running
from tests.support.publishing import publish_many, rows
from tests.support.receiver import receiving
from tests.support.scale import scale

EVENTS = scale(1_000, 20_000)
KILLS = scale(3, 25)
CONCURRENCY = 64


async def test_kill_9_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    chance = random.Random(20261123)
    org = uuid4()
    async with (
        receiving(ports=4) as receiver,
        running(
            tmp_path,
            postgres_url,
            delivery__concurrency=CONCURRENCY,
            delivery__timeout="1s",
            hosts__in_flight=16,
            hosts__rate=max(100, EVENTS / KILLS / 4),
            hosts__burst=50,
        ) as daemon,
    ):
        for port in range(4):
            await daemon.register(org, receiver.url("/", port=port))
        wanted = EVENTS // 4
        ids = await publish_many(postgres_url, org, wanted)
        in_flight: set[tuple[UUID, int]] = set()
        for number in range(KILLS):
            goal = (number + 1) * EVENTS // (KILLS + 1)
            await receiver.until(lambda goal=goal: len(receiver.requests) >= goal, 120)  # type: ignore[misc]
            await trio.sleep(chance.random() / 20)
            daemon.kill()
            await daemon.ended()
            held = await rows(postgres_url, "select id, attempt from hookd.delivery where lease is not null")
            in_flight |= {(row["id"], row["attempt"]) for row in held}
            await daemon.start()

        def distinct() -> int:
            return len({(one.port, one.event_id) for one in receiver.requests})

        await receiver.until(lambda: len(receiver.requests) >= EVENTS and distinct() == EVENTS, 180)
        await owed_nothing(postgres_url, 60)
        assert await daemon.stop() == 0

    answered = Counter((str(one.port), one.event_id) for one in receiver.requests)
    duplicates = sum(answered.values()) - len(answered)
    history = await rows(
        postgres_url, "select event_id, subscription_id, succeeded, error from hookd.attempt"
    )
    succeeded = Counter((row["subscription_id"], row["event_id"]) for row in history if row["succeeded"])
    print(
        f"\n{EVENTS} deliveries, {KILLS} kills: {len(receiver.requests)} requests, {duplicates} duplicates, "
        f"{len(in_flight)} in flight at the kills, {len(succeeded)} in the history as succeeded"
    )
    assert {event for _, event in answered} == set(ids)
    assert len(answered) == EVENTS
    assert duplicates <= len(in_flight)
    assert len(succeeded) == EVENTS
    assert set(succeeded.values()) == {1}


async def owed_nothing(url: str, seconds: float) -> None:
    """Return when nothing is owed any more."""
    with trio.fail_after(seconds):
        while (await rows(url, "select count(*) from hookd.delivery"))[0][0]:  # noqa: ASYNC110
            await trio.sleep(0.1)
