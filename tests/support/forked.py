"""Daemons as forks of a server that has imported hookd already, one server for each process of tests."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import trio

ROOT = Path(__file__).parents[2]


class Forked:
    """A daemon that `fork` has started; what `trio.Process` offers, as far as tests use it."""

    def __init__(self, pid: int, output: trio.abc.ReceiveStream, told: trio.abc.ReceiveStream) -> None:
        self.pid = pid
        self.stdout = output
        self.returncode: int | None = None
        self._told = told
        self._waiting = trio.Lock()

    async def wait(self) -> int:
        """Return the exit status once it has ended."""
        async with self._waiting:
            if self.returncode is None:
                self.returncode = int(await _line(self._told))
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, None while it runs or nobody has waited for it."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


async def fork(arguments: Sequence[str], errors: int) -> Forked:
    """Start `hookd` with these arguments; its standard error goes to the descriptor `errors`."""
    order = {"arguments": list(arguments), "directory": os.getcwd(), "environment": dict(os.environ)}
    output, told = os.pipe(), os.pipe()
    socket.send_fds(_server(), [json.dumps(order).encode()], [output[1], errors, told[1]])
    os.close(output[1])
    os.close(told[1])
    tells = trio.lowlevel.FdStream(told[0])
    return Forked(int(await _line(tells)), trio.lowlevel.FdStream(output[0]), tells)


@cache
def _server() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"],
        stdin=its.fileno(),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


async def _line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some(1)
        if not data:
            raise RuntimeError("the server that starts daemons has ended: see what it wrote above")
        line += bytes(data)
    return line
