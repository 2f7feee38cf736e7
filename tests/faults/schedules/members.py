"""The daemons of a schedule: real processes, started again whenever they end, until they are to stay away."""

import json
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from tests.faults.schedules.starter import Started
from tests.support.daemon import SECRET, TEST_SETTINGS

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
RESTART_DELAY = 0.3
MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


class Member:
    """One daemon; `note` writes into the schedule's log."""

    def __init__(
        self,
        name: str,
        directory: Path,
        database_url: Callable[[], str],
        settings: Mapping[str, object],
        note: Callable[[str], None],
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = directory / "log"
        self.died: list[str] = []
        """What it ended with, when nobody had asked it to."""
        self.ready = trio.Event()
        self.port = _free_port()
        self.movable = False
        """Whether its clock can be moved."""
        self._database_url, self._note = database_url, note
        self._process: Started | None = None
        self._wanted = trio.Event()
        self._ending = False
        self._clock = directory / "clock"
        self._clock.write_text("+0\n")
        self._settings = {
            **TEST_SETTINGS,
            "state.directory": str(directory),
            "auth.secret_file": str(_secret(directory / "token.secret", SECRET)),
            "signing.master_key_file": str(_secret(directory / "master.key", MASTER_KEY)),
            **settings,
        }

    @property
    def address(self) -> str:
        """Where its API is, while it runs."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Let it run, and start it again whenever it ends."""
        self._wanted.set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs; one that ends it is asked for."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._ending = True
            self._not_ready()
        if self._process is not None:
            self._process.send(number)

    async def stop(self, seconds: float = 60.0) -> int | None:
        """End it by SIGTERM, and let it stay away until `begin`; return its exit status.

        One that takes longer is killed.
        """
        if self._wanted.is_set():  # else `serve` waits for this very one
            self._wanted = trio.Event()
        process = self._process
        if process is None:
            return None
        self.send(signal.SIGTERM)
        with trio.move_on_after(seconds):
            await process.ended.wait()
        self.send(signal.SIGKILL)
        await process.ended.wait()
        return process.status

    def move_clock(self, seconds: float) -> None:
        """Set its clock off by so much; it must be `movable`."""
        self._clock.write_text(f"{seconds:+.0f}\n")

    async def serve(self) -> None:
        """Run it while it is wanted, until cancelled; then kill it."""
        try:
            while True:
                await self._wanted.wait()
                await self._run()
                if self._wanted.is_set():
                    await trio.sleep(RESTART_DELAY)
        finally:
            self.send(signal.SIGKILL)

    async def _run(self) -> None:
        self._ending = False
        async with trio.open_nursery() as nursery:
            process = self._start(nursery)
            self._process = process
            nursery.start_soon(self._await_ready, process)
            await process.ended.wait()
            nursery.cancel_scope.cancel()
        self._not_ready()
        how = f"daemon {self.name} ended with {process.status}"
        self._note(how)
        if process.ready.is_set() and not self._ending:
            self.died.append(how)

    def _start(self, nursery: trio.Nursery) -> Started:
        arguments = ["run"]
        self.port = _free_port(self.port)  # another schedule may have taken it meanwhile
        told = {"api.bind": f"127.0.0.1:{self.port}", "database.url": self._database_url()}
        for key, value in {**self._settings, **told}.items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        process = Started()
        if not self.movable:
            nursery.start_soon(process.run, arguments, self.log)
            return process
        more = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        nursery.start_soon(process.run_program, arguments, self.log, more)
        return process

    async def _await_ready(self, process: Started) -> None:
        await process.ready.wait()
        if not self._ending:
            self._note(f"daemon {self.name} is ready, process {process.pid}")
            self.ready.set()

    def _not_ready(self) -> None:
        if self.ready.is_set():
            self.ready = trio.Event()


def _secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def _free_port(wanted: int = 0) -> int:
    """Return a port that nobody has: the one that is wanted, if that is so."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        port: int = found.getsockname()[1]
        return port
