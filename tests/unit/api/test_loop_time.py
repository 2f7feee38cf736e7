"""Pieces of work wait for the time that those before them took, and organisations take turns."""

from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from api.loop_time import BURST, SHARE, LoopTime

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


class Work:
    """Pieces that take a time of their own, on a clock that moves with them and while the loop rests."""

    def __init__(self, others: int = 0) -> None:
        self.worked = 0.0
        self.done: list[str] = []
        self.loop_time = LoopTime(
            lambda: trio.current_time() + (1 + others) * self.worked, lambda: self.worked
        )

    async def do(self, org: UUID, name: str, seconds: float) -> None:
        async with self.loop_time.piece(org):
            self.worked += seconds
            self.done.append(name)


async def test_what_is_quick_does_not_wait(autojump_clock: MockClock) -> None:
    mine = Work()
    began = trio.current_time()
    for number in range(100):
        await mine.do(A, str(number), BURST / 100)
    assert trio.current_time() == began


async def test_after_long_work_the_next_piece_lets_others_have_the_loop(autojump_clock: MockClock) -> None:
    mine = Work()
    began = trio.current_time()
    await mine.do(A, "first", 0.1)
    assert trio.current_time() == began
    await mine.do(B, "second", 0.1)
    rested = trio.current_time() - began
    assert rested == pytest.approx((0.1 * (1 - SHARE) - BURST) / SHARE, abs=0.001)


class Turns(trio.abc.Instrument):
    """Notes the most that was done in one turn of the loop."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._before = 0
        self.most = 0
        trio.lowlevel.add_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        self._before = len(self._work.done)

    def before_io_wait(self, timeout: float) -> None:
        self.most = max(self.most, len(self._work.done) - self._before)


@pytest.mark.parametrize("others", [0, 10])
async def test_in_one_turn_of_the_loop_little_begins(others: int, autojump_clock: MockClock) -> None:
    """However fast time passes: `others` is how much faster it does than the work."""
    mine = Work(others)
    turns = Turns(mine)
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(mine.do, A, str(number), BURST * 0.4)
    assert len(mine.done) == 40
    assert turns.most <= 3
    for number in range(10):
        await mine.do(A, str(number), BURST * 2)
    assert turns.most <= 3


async def test_organisations_take_turns_and_each_keeps_its_order(autojump_clock: MockClock) -> None:
    mine = Work()
    await mine.do(A, "long", 1.0)
    async with trio.open_nursery() as nursery:
        for org, name in [(A, "a1"), (A, "a2"), (A, "a3"), (B, "b1"), (B, "b2"), (C, "c1")]:
            nursery.start_soon(mine.do, org, name, 0.1)
            await wait_all_tasks_blocked()
    assert mine.done[1:] == ["a1", "a2", "b1", "c1", "a3", "b2"] or mine.done[1:] == [
        "a1",
        "b1",
        "c1",
        "a2",
        "b2",
        "a3",
    ]


async def test_who_gives_up_leaves_the_turn_to_the_next(autojump_clock: MockClock) -> None:
    mine = Work()
    await mine.do(A, "long", 1.0)
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]

        async def do(scope: trio.CancelScope, name: str) -> None:
            with scope:
                await mine.do(A, name, 0.1)

        for number, scope in enumerate(scopes):
            nursery.start_soon(do, scope, str(number))
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        scopes[1].cancel()
    assert mine.done == ["long", "2"]
    await mine.do(B, "after", 0.1)


async def test_a_piece_that_fails_counts_too(autojump_clock: MockClock) -> None:
    mine = Work()

    async def fail() -> None:
        async with mine.loop_time.piece(A):
            mine.worked += 1.0
            raise ValueError

    with pytest.raises(ValueError):
        await fail()
    began = trio.current_time()
    await mine.do(A, "next", 0.0)
    assert trio.current_time() > began
