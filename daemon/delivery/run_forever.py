"""One loop for whatever a daemon does again and again with Postgres, through outages and faults."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from asyncpg import PostgresError

from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.progress import Progress
from daemon.store.failure import DatabaseUnavailable, RetryTransaction


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds until the next try: of what was rolled back; while Postgres is away; after what it refused."""

    retry: float = 0.05
    outage: float = 1.0
    fault: float = 5.0


async def run_forever(
    name: str,
    step: Callable[[bool], Awaitable[float]],
    stopping: trio.Event,
    *,
    wake: AutoResetEvent | None = None,
    pauses: Pauses = Pauses(),
    progress: Progress | None = None,
) -> None:
    """Take step after step until `stopping`; each returns the seconds until the next.

    `wake` ends such a wait, and must be set after `stopping`; the step learns whether it did, as does the
    first one. A step that fails is taken again after one of
    `pauses`, which nothing but `stopping` ends; what Postgres refuses is logged as a fault of hookd.
    """
    logger = logging.getLogger(f"hookd.{name}")
    woken = True
    while not stopping.is_set():
        try:
            pause = await step(woken)
        except RetryTransaction:
            pause = pauses.retry
        except DatabaseUnavailable as error:
            logger.debug("waits for Postgres: %s", error)
            pause = pauses.outage
            if progress is not None:
                progress.failed(error)
        except PostgresError as error:
            logger.exception("the %s failed and goes on after a pause; report this", name)
            pause = pauses.fault
            if progress is not None:
                progress.failed(repr(error))
        else:
            if wake is not None:
                woken = await wake.wait(pause)
            else:
                woken = False
                await _rest(pause, stopping)
            continue
        woken = False
        await _rest(jittered(pause), stopping)


def jittered(seconds: float) -> float:
    """Return a pause that is up to a third longer or shorter, so that daemons do not go in step."""
    return seconds * random.uniform(2 / 3, 4 / 3)


async def _rest(seconds: float, stopping: trio.Event) -> None:
    if seconds > 0:
        with trio.move_on_after(seconds):
            await stopping.wait()
