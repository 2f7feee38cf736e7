"""The one loop: how long it waits for what, and that it goes on through outages and faults."""

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from asyncpg import PostgresError
from trio.testing import MockClock

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.run_forever import Pauses, jittered, run_forever
from daemon.progress import Progress
from daemon.store.failure import DatabaseUnavailable, RetryTransaction

PAUSES = Pauses(retry=1.0, outage=100.0, fault=10_000.0)


class Steps:
    """Steps that do what a script says, one entry each: a pause to return or an error to raise."""

    def __init__(self, *script: float | Exception) -> None:
        self.begun: list[tuple[float, bool]] = []
        self.stopping = trio.Event()
        self.wake = AutoResetEvent()
        self.progress = Progress("steps", trio.current_time)
        self.during: Callable[[], None] = lambda: None
        self._script = list(script)

    async def step(self, woken: bool) -> float:
        self.begun.append((trio.current_time(), woken))
        await trio.lowlevel.checkpoint()
        self.during()
        if not self._script:
            self.stopping.set()
            return 0.0
        what = self._script.pop(0)
        if isinstance(what, Exception):
            raise what
        return what

    async def run(self, *, wakes: bool = True) -> list[float]:
        """Run them all; return the seconds between one and the next."""
        wake = self.wake if wakes else None
        await run_forever("steps", self.step, self.stopping, wake=wake, pauses=PAUSES, progress=self.progress)
        moments = [began for began, _ in self.begun]
        return [after - before for before, after in pairwise(moments)]


async def test_each_step_says_when_the_next_is_due(autojump_clock: MockClock) -> None:
    steps = Steps(7.0, 0.0, 30.0)
    assert await steps.run() == pytest.approx([7.0, 0.0, 30.0])
    assert [woken for _, woken in steps.begun] == [True, False, False, False]


async def test_it_is_woken_before_that(autojump_clock: MockClock) -> None:
    steps = Steps(7.0)
    steps.during = steps.wake.set
    assert await steps.run() == pytest.approx([0.0])
    assert [woken for _, woken in steps.begun] == [True, True]


@pytest.mark.parametrize(
    "error, pause", [(RetryTransaction(), 1.0), (DatabaseUnavailable(), 100.0), (PostgresError(), 10_000.0)]
)
async def test_a_failure_is_followed_by_a_pause_that_nothing_ends_but_the_stop(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, error: Exception, pause: float
) -> None:
    steps = Steps(error)
    steps.during = steps.wake.set
    (rested,) = await steps.run()
    assert pause / 2 < rested < pause * 2
    assert steps.progress.stood() == (0.0 if pause == 1.0 else pytest.approx(rested))
    logged = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(logged) == (pause == 10_000.0), "what Postgres refuses is ours to mend"


@pytest.mark.parametrize("wakes", [True, False])
async def test_the_stop_ends_a_wait(autojump_clock: MockClock, wakes: bool) -> None:
    steps = Steps(1e6, 1e6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: steps.run(wakes=wakes))
        await trio.sleep(5.0)
        steps.stopping.set()
        steps.wake.set()
    assert trio.current_time() - steps.begun[0][0] == pytest.approx(5.0)


def test_daemons_do_not_go_in_step() -> None:
    found = {jittered(3.0) for _ in range(20)}
    assert len(found) > 1
    assert all(2.0 <= one <= 4.0 for one in found)
