"""A replay of many past events to a subscription, while live ones flow to it and are not delayed."""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import trio

from daemon.rfc3339 import rfc3339
from tests.support.daemon import Daemon, running
from tests.support.publishing import publish_many, rows
from tests.support.receiver import Receiver, receiving
from tests.support.scale import FULL, scale

PAST = scale(1_000, 100_000)
REPLAY_RATE = scale(1_000, 200)
LIVE_RATE = 100
QUIET = scale(0.5, 40.0)
"""Seconds of live events alone, before and after the replay."""


class Publisher:
    """Publishes live events of an organisation, evenly, from a thread of its own; `sent` counts them."""

    def __init__(self, url: str, org: UUID) -> None:
        self.sent = 0
        self._url = url
        self._org = org
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        connection = await asyncpg.connect(self._url)
        begun = time.monotonic()
        try:
            while not self._stop.is_set():
                await asyncio.sleep(max(0.0, begun + self.sent / LIVE_RATE - time.monotonic()))
                data = json.dumps({"live": time.monotonic()})
                await connection.execute(
                    "select hookd.publish($1, 'match.proposed', $2::jsonb)", self._org, data
                )
                self.sent += 1
        finally:
            await connection.close()


class Latencies:
    """Of the live events that a receiver got since: seconds from before publishing to the request."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._seen = len(receiver.requests)

    def take(self) -> list[float]:
        """Return those since the last call."""
        new = self._receiver.requests[self._seen :]
        self._seen += len(new)
        found = [(one.at, json.loads(one.body)["data"]) for one in new]
        return [at - data["live"] for at, data in found if "live" in data]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of `values` is."""
    return sorted(values)[int(len(values) * share)]


def usual_p99(values: Sequence[float]) -> float:
    """Return the median of the 99th percentiles of stretches of five seconds: other load comes in bursts."""
    size = 5 * LIVE_RATE
    stretches = [values[at : at + size] for at in range(0, max(1, len(values) - size + 1), size)]
    return statistics.median(percentile(stretch, 0.99) for stretch in stretches)


async def replayed(daemon: Daemon, org: UUID, path: str, seconds: float) -> dict[str, Any]:
    """Return the replay at `path` once it has ended."""
    async with daemon.client(org) as client:
        with trio.fail_after(seconds):
            while True:
                shown: dict[str, Any] = (await client.get(path)).json()
                if shown["status"] != "running":
                    return shown
                await trio.sleep(0.5)


async def test_live_events_are_not_delayed_behind_a_replay(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    async with (
        receiving() as receiver,
        running(tmp_path, postgres_url, delivery__replay_rate=REPLAY_RATE) as daemon,
    ):
        past = await publish_many(postgres_url, org, PAST)
        with trio.fail_after(60):
            # What is awaited happens in another process, so there is no event to wait for.
            while (await rows(postgres_url, "select exists (select from hookd.inbox)"))[0][0]:  # noqa: ASYNC110
                await trio.sleep(0.1)
        until = datetime.now(UTC)
        subscription = await daemon.register(org, receiver.url())
        latencies = Latencies(receiver)
        with Publisher(postgres_url, org) as publisher:
            await receiver.until(lambda: len(receiver.requests) >= LIVE_RATE, 30)  # warm
            latencies.take()
            await trio.sleep(QUIET)
            before = latencies.take()

            begun = time.monotonic()
            async with daemon.client(org, "org_admin") as client:
                body = {"from": rfc3339(until - timedelta(hours=1)), "to": rfc3339(until)}
                answer = await client.post(f"/webhooks/{subscription['id']}/replay", json=body)
            assert answer.status_code == 202, answer.text
            asked = time.monotonic() - begun
            assert answer.json()["total"] == PAST
            ended = await replayed(daemon, org, answer.headers["location"], 60 + 3 * PAST / REPLAY_RATE)
            took = time.monotonic() - begun
            during = latencies.take()

            await trio.sleep(QUIET)
            after = latencies.take()
            publisher.stop()
            await receiver.until(lambda: len(receiver.requests) >= PAST + publisher.sent, 30)
        assert await daemon.stop() == 0

    for name, values in (("before", before), ("during", during), ("after", after)):
        p50, p99 = (percentile(values, share) * 1000 for share in (0.5, 0.99))
        usual = usual_p99(values) * 1000
        print(
            f"\n{name}: {len(values)} live events, p50 {p50:.1f}, p99 {p99:.1f} ms, usually {usual:.1f}",
            end="",
        )
    print(f"\n{PAST} replayed in {took:.1f} s, {PAST / took:.0f}/s; asked for in {asked * 1000:.0f} ms")
    assert (ended["status"], ended["queued"], ended["skipped"]) == ("done", PAST, 0)
    got = [one.event_id for one in receiver.requests]
    assert len(got) == len(set(got)) == PAST + publisher.sent
    assert set(past) <= set(got)
    assert took >= PAST / REPLAY_RATE * 0.9, "the rate is a bound"
    if FULL:
        assert usual_p99(during) <= 2 * usual_p99(before + after)
