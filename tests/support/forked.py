"""Daemons as forks of a server that has imported hookd already; each process of tests has its own."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trio

ROOT = Path(__file__).parents[2]
FORK_SERVER = Path(__file__).with_name("fork_server.py")


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


@dataclass(frozen=True, slots=True)
class Program:
    """What daemons are: of which checkout, and with which constants "MODULE.NAME=NUMBER" changed."""

    checkout: Path = ROOT
    changes: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """Return the command of one daemon with these arguments; without any, of the server."""
        own = [sys.executable, "-P", str(FORK_SERVER), *self.changes]
        return [*own, "--", *arguments] if arguments else own

    def environ(self) -> dict[str, str]:
        """Return its environment: it may keep what it compiles, as such programs start often."""
        found = {**os.environ, "PYTHONPATH": str(self.checkout)}
        found.pop("PYTHONDONTWRITEBYTECODE", None)
        return found


HOOKD = Program()


async def fork(
    arguments: Sequence[str], errors: int, program: Program = HOOKD, *, forks: bool = False
) -> Forked:
    """Start `hookd` with these arguments; its standard error goes to the descriptor `errors`.

    `forks`: it starts others, and they are forks as well.
    """
    order = {
        "arguments": list(arguments),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "forks": forks,
    }
    output, told = os.pipe(), os.pipe()
    socket.send_fds(_server(program), [json.dumps(order).encode()], [output[1], errors, told[1]])
    os.close(output[1])
    os.close(told[1])
    tells = trio.lowlevel.FdStream(told[0])
    return Forked(int(await _line(tells)), trio.lowlevel.FdStream(output[0]), tells)


@cache
def _server(program: Program) -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        program.command(), stdin=its.fileno(), cwd=program.checkout, env=program.environ()
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
