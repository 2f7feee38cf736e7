"""More cores: a parent that starts whole daemons behind one address, keeps them up and ends them together.

Each daemon is a process of the same command, with its own connections to Postgres and its own senders. What
they share is the database, which holds the limits, and the listening socket: whichever is free takes the next
connection. The parent serves nothing itself.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from subprocess import DEVNULL

import trio
from trio.socket import SocketType

from api.listeners import Listeners
from daemon.config.config_error import ConfigError
from daemon.config.load import Loaded
from daemon.delivery.auto_reset_event import AutoResetEvent
from daemon.process.child import Child
from daemon.process.main import Running, listen
from daemon.process.reload import FOREVER
from daemon.process.signals import serve_signals
from daemon.process.startup import Prepared
from daemon.process.systemd import READY, WATCHDOG_VARIABLES, notify, watchdog_period

logger = logging.getLogger("hookd")

BACKOFF = (0.5, 30.0)
"""Seconds until a daemon that died is started again: doubling from the first to the second."""
STEADY = 60.0
"""Seconds after which a daemon's end has nothing to do with the one before it."""
GRACE = 5.0
"""Seconds beyond daemon.stop_timeout, which each daemon keeps to by itself, before what is left is killed."""
FAILED = 1


async def supervise(prepared: Prepared, *, ready: Callable[[Running], None]) -> int:
    """Run `daemon.processes` daemons until SIGTERM or SIGINT, and return the exit status.

    `ready` is called once all work. A daemon that cannot start ends the whole start: it has said why, and its
    exit status is returned. One that dies later is started again. Errors: `StartError`.
    """
    listeners = await listen(prepared.config)
    try:
        return await _Supervisor(prepared.loaded, listeners).run(ready)
    finally:
        listeners.close()


@dataclass(slots=True, eq=False)
class _Daemon:
    """A running process. `seen`: when it last gave a sign of life, in seconds of Trio's clock."""

    number: int
    process: trio.Process
    channel: SocketType
    seen: float
    ready: bool = False
    has_missed_hangup: bool = False

    def dismiss(self) -> None:
        """Let it stop in order."""
        with suppress(OSError):  # it is gone
            self.channel.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Let it read the configuration again, once it is ready: the signal would end it before."""
        self.has_missed_hangup = not self.ready
        if self.ready:
            self.process.send_signal(signal.SIGHUP)

    def hear(self, message: bytes) -> None:
        """Take what it would tell systemd."""
        self.seen = trio.current_time()
        self.ready = self.ready or READY.encode() in message.splitlines()
        if self.ready and self.has_missed_hangup:
            self.hang_up()


class _Supervisor:
    def __init__(self, loaded: Loaded, listeners: Listeners) -> None:
        self._loaded = loaded
        self._listeners = listeners
        self._period = watchdog_period()
        self._stop = trio.Event()
        self._status = 0
        self._daemons: dict[int, _Daemon] = {}

    async def run(self, ready: Callable[[Running], None]) -> int:
        """Start all, and return when they have ended."""
        hangup = AutoResetEvent()
        addresses = self._listeners.addresses()
        begun = [trio.Event() for _ in range(self._loaded.config.daemon.processes)]
        async with trio.open_nursery() as outer:
            await outer.start(partial(serve_signals, self._stop, hangup, at_once=self._kill))
            outer.start_soon(self._serve_hangups, hangup)
            outer.start_soon(self._serve_watchdog)
            async with trio.open_nursery() as daemons:
                outer.start_soon(self._serve_stop, daemons.cancel_scope)
                for number, event in enumerate(begun, 1):
                    daemons.start_soon(self._keep, number, event)
                    if number == 1:  # alone: it brings the schema up to date, and says once what is wrong
                        await event.wait()
                for event in begun:
                    await event.wait()
                if not self._stop.is_set():
                    notify(READY, f"STATUS={len(begun)} processes serve on {', '.join(addresses)}")
                    ready(Running(addresses))
            if daemons.cancel_scope.cancelled_caught:
                logger.error("not all processes ended within daemon.stop_timeout: the others were killed")
                self._status = self._status or FAILED
            outer.cancel_scope.cancel()
        return self._status

    async def _keep(self, number: int, begun: trio.Event) -> None:
        """Have daemon `number` run until the stop; sets `begun` when it is ready, or will never be."""
        deaths = 0
        while not self._stop.is_set():
            since = trio.current_time()
            status, end = await self._run_one(number, begun)
            if self._stop.is_set():
                self._status = self._status or (FAILED if status else 0)
            elif not begun.is_set():
                logger.error("process %d %s before it was ready: stopping", number, end)
                self._status = max(FAILED, status)  # below 0: by a signal
                self._stop.set()
            else:
                deaths = 1 if trio.current_time() - since > STEADY else deaths + 1
                pause = min(BACKOFF[1], BACKOFF[0] * 2.0 ** min(deaths - 1, 16))
                logger.error("process %d %s: another is started in %g s", number, end, pause)
                with trio.move_on_after(pause):
                    await self._stop.wait()
        begun.set()

    async def _run_one(self, number: int, begun: trio.Event) -> tuple[int, str]:
        """Run daemon `number` to its end; return its exit status and how it ended, in words."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with trio.socket.from_stdlib_socket(ours) as channel:
            with theirs:
                try:
                    process = await self._spawn(number, theirs)
                except OSError as error:
                    # The stop may have closed the sockets that it was to get.
                    return 0 if self._stop.is_set() else FAILED, f"could not be started ({error.strerror})"
            daemon = self._daemons[number] = _Daemon(number, process, channel, trio.current_time())
            logger.info("process %d runs as %d", number, process.pid)
            if self._stop.is_set():
                daemon.dismiss()
            try:
                while message := await _received(channel):
                    daemon.hear(message)
                    if daemon.ready:
                        begun.set()
                status = await process.wait()
            finally:
                del self._daemons[number]
                if process.returncode is None:
                    process.kill()
        if status < 0:
            return status, f"was ended by {signal.Signals(-status).name}"
        return status, f"ended with exit status {status}"

    async def _spawn(self, number: int, channel: socket.socket) -> trio.Process:
        channel.setblocking(False)
        sockets = tuple(listener.socket.fileno() for listener in self._listeners.sockets)
        child = Child(number, sockets, channel.fileno())
        environ = {key: value for key, value in os.environ.items() if key not in WATCHDOG_VARIABLES}
        if self._period is not None:
            environ["WATCHDOG_USEC"] = str(int(self._period / 2 * 1_000_000))
        return await trio.lowlevel.open_process(
            [sys.executable, *sys.orig_argv[1:]],
            stdin=DEVNULL,
            stdout=DEVNULL,
            env={**environ, **child.variables()},
            pass_fds=(*sockets, child.channel),
            # Out of reach of the terminal's Ctrl-C, which the parent hears and they hear of.
            start_new_session=True,
        )

    async def _serve_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        notify("STOPPING=1", "STATUS=finishing what is under way")
        self._listeners.close()  # else connections that nobody takes any more would wait
        for daemon in self._daemons.values():
            daemon.dismiss()
        scope.deadline = trio.current_time() + self._loaded.config.daemon.stop_timeout + GRACE

    async def _serve_hangups(self, hangup: AutoResetEvent) -> None:
        while True:
            if await hangup.wait(FOREVER):
                with suppress(ConfigError):  # each daemon says what is wrong
                    self._loaded = self._loaded.again()
                for daemon in self._daemons.values():
                    daemon.hang_up()

    async def _serve_watchdog(self) -> None:
        """Tell systemd that all is well while each daemon that is ready shows life within half the time."""
        while self._period is not None:
            late = trio.current_time() - self._period / 2
            silent = [one.number for one in self._daemons.values() if one.ready and one.seen < late]
            if not silent:
                notify("WATCHDOG=1")
            for number in silent:
                logger.error("process %d shows no life: systemd is not told that all is well", number)
            await trio.sleep(self._period / 4)

    def _kill(self) -> None:
        for daemon in self._daemons.values():
            daemon.process.kill()


async def _received(channel: SocketType) -> bytes:
    """Return the next message, b"" after the last."""
    try:
        return await channel.recv(4096)
    except ConnectionResetError:
        return b""
