"""Replaying: makes deliveries of what replays owe, few at a time, so that live events are not delayed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import trio

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.delivery.run_forever import Pauses, jittered, run_forever
from daemon.store.database import Database
from daemon.store.replays import drop_cancelled, feed

MIN_PAUSE, MAX_PAUSE = 0.04, 1.0
"""Seconds between rounds while a replay runs: doubling while none has room."""
IDLE = 10.0
"""Seconds between looks for a replay that another daemon was asked for."""
TIDY = 60.0
"""Seconds between looks for what cancelled replays left."""
MAX_REMEMBERED = 1000
PAUSES = Pauses(retry=MIN_PAUSE, outage=IDLE)


@dataclass
class Replayer:
    """Feeds each replay with at most `rate` deliveries a second, from all daemons together.

    `wake` is set when a replay was asked for or cancelled; `fed` is called after deliveries were made.
    """

    database: Database
    rate: Callable[[], float]
    wake: AutoResetEvent
    fed: Callable[[], None]
    _last: dict[UUID, UUID] = field(default_factory=dict)
    _pause: float = MIN_PAUSE
    _tidy_at: float = 0.0

    async def run(self, stopping: trio.Event) -> None:
        """Feed until `stopping`."""
        await run_forever("replayer", self._step, stopping, wake=self.wake, pauses=PAUSES)

    async def _step(self, woken: bool) -> float:
        if woken:
            self._pause, self._tidy_at = MIN_PAUSE, trio.current_time()
        done = await feed(self.database, self.rate(), self._last)
        self._last |= done.last
        while len(self._last) > MAX_REMEMBERED:
            self._last.pop(next(iter(self._last)))  # to have forgotten one only costs time
        if done.made:
            self.fed()
        if done.last:
            self._pause = MIN_PAUSE
        else:
            self._pause = min(MAX_PAUSE, self._pause * 2) if done.running else IDLE
        if trio.current_time() >= self._tidy_at:
            self._tidy_at = trio.current_time() + (0 if await drop_cancelled(self.database) else TIDY)
            self._pause = min(self._pause, max(MIN_PAUSE, self._tidy_at - trio.current_time()))
        return jittered(self._pause)
