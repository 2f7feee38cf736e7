"""Two daemons on one Postgres hold a host to one rate and one in-flight limit, also when one of them dies."""

import time
from pathlib import Path
from uuid import uuid4

import trio

from tests.support.daemon import running
from tests.support.publishing import publish_many
from tests.support.receiver import Received, Reply, receiving
from tests.support.scale import FULL, scale

RATE, BURST, CAP = 50, 10, 8
WINDOW = scale(3.0, 20.0)


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
        began = time.monotonic()
        await publish_many(postgres_url, org, int(RATE * WINDOW * 2 + RATE * 30))

        async def measure() -> float:
            """Return the requests a second over the window, from a steady state on."""
            before = len(receiver.requests) + 3 * BURST
            await receiver.until(lambda: len(receiver.requests) >= before + WINDOW * RATE, 60)
            window = receiver.requests[before : int(before + WINDOW * RATE)]
            return (len(window) - 1) / (window[-1].at - window[0].at)

        both = await measure()
        second.kill()
        await second.ended()
        alone = await measure()
        assert await first.stop() == 0
    print(f"\nboth {both:.2f}/s, one killed {alone:.2f}/s, at most {receiver.most_in_flight} in flight")
    assert receiver.most_in_flight <= CAP
    # Whatever holds them up, no request comes before its time: the bound holds from the first publication on.
    early = [n for n, one in enumerate(receiver.requests, 1) if n > BURST + RATE * (one.at - began) * 1.02]
    assert not early
    if FULL:  # alone on the machine
        assert abs(both - RATE) <= RATE * 0.05
        assert abs(alone - RATE) <= RATE * 0.05
