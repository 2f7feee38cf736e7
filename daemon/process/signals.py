"""Signals: the first SIGTERM or SIGINT stops the daemon in order, a second one at once; SIGHUP reloads."""

import logging
import os
import signal
from collections.abc import Callable

import trio

from daemon.delivery.auto_reset_event import AutoResetEvent

logger = logging.getLogger("hookd")

ENDED_AT_ONCE = 1
SAME_SIGNAL = 0.3
"""Seconds within which a signal is the one before, again: wrappers send to a process and to its group."""


async def serve_signals(
    stop: trio.Event,
    hangup: AutoResetEvent,
    *,
    at_once: Callable[[], None] = lambda: None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set `stop` at the first SIGTERM or SIGINT, end the process at the second; set `hangup` at SIGHUP.

    `at_once` is called before the end, for what must end with the process.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        first = 0.0
        async for number in received:
            if number == signal.SIGHUP:
                hangup.set()
                continue
            if stop.is_set() and trio.current_time() - first < SAME_SIGNAL:
                continue
            if stop.is_set():
                logger.warning("second %s: ending at once", signal.Signals(number).name)
                at_once()
                os._exit(ENDED_AT_ONCE)
            logger.info("%s: stopping; a second signal ends at once", signal.Signals(number).name)
            first = trio.current_time()
            stop.set()
