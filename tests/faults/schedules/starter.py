"""Starts daemons: by forking, which is quick, or as a program, where its environment must be another."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from tests.support.forked import ROOT, Forked, Program, fork

CODE = "HOOKD_SCHEDULES_CODE"
"""Environment variable: another checkout, the daemons of which are to be tried."""

# Shorter leases than any setting allows, so that a schedule need not wait for them. Seconds.
CHANGES = ("daemon.delivery.leases.RECORDING_TIME=2.5", "daemon.delivery.sweeper.PERIOD=0.5")


class Started:
    """A daemon that was started. `status` is known once `ended` is set."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self.ready = trio.Event()
        self.ended = trio.Event()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.pid and not self.ended.is_set():
            os.kill(self.pid, number)

    async def run(self, arguments: Sequence[str], log: Path) -> None:
        """Be a fork until it ends; its log is appended to a file."""
        with log.open("ab") as errors:
            await self._follow(await fork(arguments, errors.fileno(), _program()))

    async def run_program(self, arguments: Sequence[str], log: Path, more: Mapping[str, str]) -> None:
        """Be a program until it ends; `more` is added to its environment."""
        program = _program()
        with log.open("ab") as errors:
            process = await trio.lowlevel.open_process(
                program.command(*arguments),
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**program.environ(), **more},
                cwd=program.checkout,
            )
        await self._follow(process)

    async def _follow(self, process: Forked | trio.Process) -> None:
        self.pid = process.pid
        assert process.stdout is not None
        try:
            async for data in process.stdout:
                if b"ready" in data:
                    self.ready.set()
        except trio.Cancelled:
            process.kill()
            raise
        finally:
            with trio.CancelScope(shield=True):
                self.status = await process.wait()
                self.ended.set()


def _program() -> Program:
    return Program(Path(os.environ.get(CODE, ROOT)), CHANGES)
