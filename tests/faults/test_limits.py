"""Two daemons on one Postgres hold a host to one rate and one in-flight limit, also when one of them dies."""

import time
from pathlib import Path
from uuid import uuid4

import trio

from tests.support.daemon import running
from tests.support.publishing import publish_many
from tests.support.receiver import Received, Reply, receiving
from tests.support.scale import scale

RATE, BURST, CAP = 50, 10, 8
WINDOW = scale(5.0, 20.0)


async def test_two_daemons_share_one_hosts_limits(tmp_path: Path, postgres_url: str) -> None:
    async def answer(request: Received) -> Reply:
        await trio.sleep(0.02)
        return Reply()

    org = uuid4()
    limits = {"hosts__rate": RATE, "hosts__burst": BURST, "hosts__in_flight": CAP}
    async with (
        receiving(answer) as receiver,
        running(tmp_path / "a", postgres_url, delivery__timeout="2s", **limits) as first,
        running(tmp_path / "b", postgres_url, delivery__timeout="2s", **limits) as second,
    ):
        await first.register(org, receiver.url())
        await publish_many(postgres_url, org, int(RATE * WINDOW * 2 + RATE * 30))

        async def measure() -> float:
            """Return the requests a second over the window, from a steady state on."""
            await receiver.until(lambda n=len(receiver.requests): len(receiver.requests) >= n + 3 * BURST, 60)  # type: ignore[misc]
            begin, before = time.monotonic(), len(receiver.requests)
            await trio.sleep(WINDOW)
            return (len(receiver.requests) - before) / (time.monotonic() - begin)

        both = await measure()
        second.kill()
        await second.ended()
        alone = await measure()
        assert await first.stop() == 0
    print(f"\nboth {both:.2f}/s, one killed {alone:.2f}/s, at most {receiver.most_in_flight} in flight")
    assert abs(both - RATE) <= RATE * 0.05
    assert abs(alone - RATE) <= RATE * 0.05
    assert receiver.most_in_flight <= CAP
