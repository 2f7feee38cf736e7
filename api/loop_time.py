"""The loop's time that work on requests may take: in pieces, and by turns of the organisations.

One thread does everything. Work that takes milliseconds (reading a body, bringing an event into its form) is
cut into pieces, and each waits here where there was much of it lately, so that others have the loop between
any two. What is waited for is shared by organisation: the requests of one wait for each other.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter, thread_time
from types import TracebackType
from uuid import UUID

import trio

SHARE = 0.75
"""Part of the time that the pieces may take together."""
BURST = 0.005
"""Seconds of work that may be done at once after a quiet time: for all pieces of one turn of the loop, the
last one begun within it."""

_SHORTEST_REST = 0.0001  # seconds


class LoopTime(trio.abc.Instrument):
    """Tells each piece of work when to begin, given how long those before it took.

    In one turn of the loop no piece begins after `BURST` seconds of work, however fast time passes: where
    other processes take the processor, the share of it says nothing.

    `async with loop_time.piece(org_id):` stands around what is done in one go. Nobody who waits is passed
    over: the organisations take turns, and the requests of each keep their order.
    """

    def __init__(
        self, clock: Callable[[], float] = perf_counter, work_clock: Callable[[], float] = thread_time
    ) -> None:
        self._clock = clock
        self.work_clock = work_clock
        """Measures a piece: not what other processes take meanwhile."""
        self._at = clock()
        self._left = BURST
        self._typical = BURST / 10
        """Seconds that a piece takes, on average of late."""
        self._waiting: dict[UUID, deque[trio.Event]] = {}
        """By organisation; the one whose turn is next is the first."""
        self._woken = 0
        """How many wait no more for their turn, but have not begun."""
        self._in_turn = 0.0
        """Seconds of work in this turn of the loop."""
        self._watches = False

    def piece(self, org_id: UUID) -> "Piece":
        """Return what to do a piece of work in."""
        return Piece(self, org_id)

    def after_io_wait(self, timeout: float) -> None:
        """Note that a turn of the loop begins."""
        self._in_turn = 0.0

    async def begin(self, org_id: UUID) -> None:
        """Wait for time."""
        if not self._watches:
            self._watches = True
            trio.lowlevel.add_instrument(self)
        if self._waiting or self._woken or self._lack() >= 0:
            await self._wait(org_id)

    def end(self, seconds: float) -> None:
        """Count what a piece took."""
        self._left -= seconds
        self._in_turn += seconds
        self._refilled()
        self._typical += (seconds - self._typical) / 8

    def _refilled(self) -> float:
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._at) * SHARE)
        self._at = now
        return self._left

    async def _wait(self, org_id: UUID) -> None:
        turn = trio.Event()
        self._waiting.setdefault(org_id, deque()).append(turn)
        if not self._woken:
            self._wake()
        try:
            await turn.wait()
            await self._rest()
        finally:
            if turn.is_set():
                self._woken -= 1
            else:
                self._forget(org_id, turn)
            while self._waiting and (not self._woken or self._left > (self._woken + 1) * self._typical):
                self._wake()

    def _lack(self) -> float:
        """Return the seconds of work by which a piece would begin too early; below 0: none."""
        return max(-self._refilled(), self._in_turn - BURST)

    async def _rest(self) -> None:
        while True:
            lack = self._lack()
            if lack < 0:
                return
            await trio.sleep(max(lack / SHARE, _SHORTEST_REST))

    def _wake(self) -> None:
        org_id, turns = next(iter(self._waiting.items()))
        turns.popleft().set()
        self._woken += 1
        del self._waiting[org_id]
        if turns:
            self._waiting[org_id] = turns  # behind the others

    def _forget(self, org_id: UUID, turn: trio.Event) -> None:
        turns = self._waiting[org_id]
        turns.remove(turn)
        if not turns:
            del self._waiting[org_id]


class Piece:
    """A piece of work, from its beginning to its end, whatever it comes to."""

    __slots__ = ("_began", "_loop_time", "_org_id")

    def __init__(self, loop_time: LoopTime, org_id: UUID) -> None:
        self._loop_time = loop_time
        self._org_id = org_id
        self._began = 0.0

    async def __aenter__(self) -> None:
        await self._loop_time.begin(self._org_id)
        self._began = self._loop_time.work_clock()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop_time.end(self._loop_time.work_clock() - self._began)
