"""The poller: one statement now and then tells a daemon at rest whether there is something to do.

While many transactions publish, they are told to send no hints, and the router looks for itself every few
milliseconds. At rest it looks seldom, and hints wake the router.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import trio

from daemon.delivery.run_forever import Pauses, jittered, run_forever
from daemon.progress import Progress
from daemon.store.database import Database
from daemon.store.failure import IS_READ_ONLY
from daemon.store.notify_listener import NotifyListener
from daemon.store.poll import poll, stay_awake

BUSY = 100.0
"""Transactions whose events are routed in a second, from which on it is worth staying awake."""
AWAKE = 5.0
"""Seconds for which publishers are told to send no hints; the router stays awake for a second longer."""
STEADY, SLOW, QUICK = 0.25, 4.0, 0.05
"""Seconds between polls; at rest where hints arrive; and at rest where publishers give none."""
PAUSES = Pauses(retry=STEADY, outage=STEADY)


class PublishRate:
    """Of how many transactions events were routed in the last second or so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._count = 0
        self._rate = 0.0
        self._awake_until = float("-inf")

    def note(self, transactions: int) -> None:
        """Count the transactions of events that were routed just now."""
        self._renew()
        self._count += transactions

    def busy(self) -> bool:
        """Return whether so many publish that hints would cost more than polling."""
        self._renew()
        return self._rate >= BUSY

    def stay_awake(self, seconds: float) -> None:
        """No hints come for so long: the router looks for itself."""
        self._awake_until = self._clock() + seconds

    def awake(self) -> bool:
        """Return whether the router is to look for itself."""
        return self._clock() < self._awake_until

    def _renew(self) -> None:
        passed = self._clock() - self._since
        if passed >= 1.0:
            self._rate = self._count / passed
            self._since += passed
            self._count = 0


def rest(*, awake: bool, hinted: bool, unhinted: bool) -> float:
    """Return the seconds to the next poll: `awake`, the router looks for itself meanwhile."""
    if awake:
        return STEADY
    if unhinted:
        return QUICK
    return SLOW if hinted else STEADY


@dataclass
class Poller:
    """Looks whether there is something to do; where `listener` hears of it at once, seldom.

    `wake_routers` is called when there are events to route, `wake_claimer` for what is due.
    """

    database: Database
    publish_rate: PublishRate
    listener: NotifyListener
    wake_routers: Callable[[], None]
    wake_claimer: Callable[[], None]
    progress: Progress
    _said_awake: float = -math.inf

    async def run(self, stopping: trio.Event) -> None:
        """Look until `stopping`."""
        await run_forever("poller", self._step, stopping, pauses=PAUSES, progress=self.progress)

    async def _step(self, woken: bool) -> float:
        now = trio.current_time()
        self.progress.begin()
        if self.publish_rate.busy() and now >= self._said_awake + AWAKE / 2:
            await stay_awake(self.database, AWAKE)
            self._said_awake = now
            self.publish_rate.stay_awake(AWAKE + 1)
        seen = await poll(self.database)
        if seen.inbox:
            self.wake_routers()
        if seen.due:
            self.wake_claimer()
        if seen.read_only:
            self.progress.failed(IS_READ_ONLY)
        else:
            self.progress.done()
        hinted, awake = self.listener.working, self.publish_rate.awake()
        return jittered(rest(awake=awake, hinted=hinted, unhinted=seen.unhinted))
