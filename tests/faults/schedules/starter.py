"""Starts daemons: by forking, which is quick, or as a program, where its environment must be another."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).parents[3]
QUICK_DAEMON = Path(__file__).with_name("quick_daemon.py")
CODE = "HOOKD_SCHEDULES_CODE"
"""Environment variable: another checkout, the daemons of which are to be tried."""


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

    def hear(self, said: str) -> None:
        """Take what it prints."""
        if "ready" in said:
            self.ready.set()

    def end(self, status: int) -> None:
        """Take its exit status."""
        self.status = status
        self.ended.set()


class Starter:
    """Start daemons with `start` while `starting` has it open."""

    def __init__(self, server: trio.Process) -> None:
        self._server = server
        self._started: list[Started] = []
        self._sending = trio.Lock()

    async def start(self, arguments: Sequence[str], log: Path) -> Started:
        """Start a daemon as a fork; its log is appended to a file."""
        started = Started()
        order = {"id": len(self._started), "arguments": list(arguments), "log": str(log)}
        self._started.append(started)
        assert self._server.stdin is not None
        async with self._sending:
            await self._server.stdin.send_all(json.dumps(order).encode() + b"\n")
        return started

    async def hear(self) -> None:
        """Take what the server tells, until it ends."""
        assert self._server.stdout is not None
        rest = b""
        async for data in self._server.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                told: dict[str, Any] = json.loads(line)
                started = self._started[told["id"]]
                started.pid = told.get("pid", started.pid)
                started.hear(told.get("said", ""))
                if "status" in told:
                    started.end(told["status"])


@asynccontextmanager
async def starting() -> AsyncIterator[Starter]:
    """Have a `Starter` for the block, and no daemon of it afterwards."""
    server = await trio.lowlevel.open_process(
        [sys.executable, "-P", str(QUICK_DAEMON)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ(),
        cwd=checkout(),
    )
    starter = Starter(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(starter.hear)
        try:
            yield starter
        finally:
            with trio.CancelScope(shield=True):
                assert server.stdin is not None
                await server.stdin.aclose()
                await server.wait()
            nursery.cancel_scope.cancel()


async def run_program(started: Started, arguments: Sequence[str], log: Path, more: Mapping[str, str]) -> None:
    """Run a daemon as a program until it ends; `more` is added to its environment."""
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", str(QUICK_DAEMON), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**environ(), **more},
            cwd=checkout(),
        )
    started.pid = process.pid
    assert process.stdout is not None
    try:
        async for data in process.stdout:
            started.hear(data.decode())
    except trio.Cancelled:
        process.kill()
        raise
    finally:
        with trio.CancelScope(shield=True):
            started.end(await process.wait())


def environ() -> dict[str, str]:
    """Return the environment of a daemon."""
    found = {**os.environ, "PYTHONPATH": checkout()}
    if CODE not in os.environ:
        found.pop("PYTHONDONTWRITEBYTECODE", None)  # they start often
    return found


def checkout() -> str:
    """Return the directory that has the daemons' code, and their config.toml."""
    return os.environ.get(CODE, str(ROOT))
