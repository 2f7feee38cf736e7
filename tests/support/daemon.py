"""The daemon as a real process that does what the real command does, for tests that kill it."""

import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import httpx
import jwt
import trio

from tests.support.forked import HOOKD, Forked, fork

SECRET = "a secret of the tests, long enough for HS256"
TEST_SETTINGS: Mapping[str, object] = {
    "api.bind": "127.0.0.1:0",
    "egress.https_only": False,
    "egress.allow_networks": ["127.0.0.0/8"],
    "logging.format": "json",
}


_started: list[trio.Process | Forked] = []


def end_what_was_left() -> None:
    """kill -9 to the daemons that a test, mostly one that failed, has not ended."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()


class Daemon:
    """One daemon on a database; `settings` are keys of config.toml. It can be started again.

    `clock_ahead`: by how many seconds its machine's clock is wrong. `as_program`: it is no fork of a process
    that has imported everything, but the command itself, which takes a second more.
    """

    def __init__(self, directory: Path, database_url: str, settings: Mapping[str, object]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        secret = directory / "token.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        master = directory.parent / "master.key"
        if not master.exists():
            master.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
            master.chmod(0o600)
        self.log = directory / "log"
        self.address = ""
        self.process: trio.Process | Forked | None = None
        self.config: Path | None = None
        self.clock_ahead = 0.0
        self.as_program = False
        self._settings = {
            **TEST_SETTINGS,
            "database.url": database_url,
            "state.directory": str(directory),
            "auth.secret_file": str(secret),
            "signing.master_key_file": str(master),
            **settings,
        }

    async def start(self, seconds: float = 30.0) -> None:
        """Start the process and return when it has printed its ready line."""
        arguments = ["run"]
        if self.config is not None:
            arguments += ["--config", str(self.config)]
        for key, value in self._settings.items():
            arguments += ["--set", f"{key}={json.dumps(value)}"]
        with self.log.open("ab") as log:
            if self.clock_ahead:
                wrong_clock = ["tests.support.wrong_clock", str(self.clock_ahead)]
                self.process = await _program([*wrong_clock, *arguments], log)
            elif self.as_program:
                self.process = await _program(["daemon.cli", *arguments], log)
            else:
                several = "daemon.processes" in self._settings
                self.process = await fork(arguments, log.fileno(), forks=several)
        _started.append(self.process)
        assert self.process.stdout is not None
        line = b""
        with trio.move_on_after(seconds):
            while b"\n" not in line:
                data = await self.process.stdout.receive_some(4096)
                if not data:
                    break
                line += bytes(data)
        if b"http://" not in line:
            raise AssertionError(f"the daemon did not become ready: {line!r}\n{self.log.read_text()[-3000:]}")
        self.address = "http://" + line.decode().split("http://")[1].split()[0].rstrip("/")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    async def ended(self, seconds: float = 60.0) -> int:
        """Return the exit status once the process has ended."""
        assert self.process is not None
        with trio.fail_after(seconds):
            return await self.process.wait()

    async def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(seconds)

    async def said(self, text: str, times: int = 1, seconds: float = 30.0) -> None:
        """Return when the log has the text so many times; another process writes it."""
        with trio.fail_after(seconds):
            while self.log.read_text().count(text) < times:  # noqa: ASYNC110
                await trio.sleep(0.02)

    def resident(self) -> int:
        """Return the memory of the process that is in use, in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    def client(self, org_id: UUID, *roles: str, timeout: float = 30.0) -> httpx.AsyncClient:
        """Return a client of the API with a token of the organisation: a viewer's, unless it has `roles`."""
        return httpx.AsyncClient(
            base_url=self.address,
            headers={"authorization": f"Bearer {token(org_id, *(roles or ('viewer',)))}"},
            timeout=timeout,
            trust_env=False,
        )

    async def register(self, org_id: UUID, url: str, events: list[str] | None = None) -> dict[str, Any]:
        """Register a subscription through the API and return the answer."""
        async with self.client(org_id, "org_admin") as client:
            answer = await client.post(
                "/webhooks/", json={"url": url, "events": events or ["match.proposed"]}
            )
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body


async def _program(module: Sequence[str], log: BinaryIO) -> trio.Process:
    return await trio.lowlevel.open_process(
        [sys.executable, "-m", *module], stdout=PIPE, stderr=log, env=HOOKD.environ()
    )


def token(org_id: UUID, *roles: str, lifetime: float = 3600.0) -> str:
    """Return a token that lives for so many seconds."""
    claims = {"sub": "tests", "org_id": str(org_id), "roles": list(roles), "exp": int(time.time() + lifetime)}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@asynccontextmanager
async def running(directory: Path, database_url: str, **settings: object) -> AsyncIterator[Daemon]:
    """Run a daemon for the block; `delivery__timeout="2s"` stands for the key `delivery.timeout`.

    `clock_ahead=600` and `as_program=True` are none: see `Daemon`.
    """
    ahead = float(str(settings.pop("clock_ahead", 0)))
    as_program = bool(settings.pop("as_program", False))
    named = {key.replace("__", "."): value for key, value in settings.items()}
    daemon = Daemon(directory / f"daemon-{uuid4().hex[:8]}", database_url, named)
    daemon.clock_ahead, daemon.as_program = ahead, as_program
    await daemon.start()
    try:
        yield daemon
    finally:
        if daemon.process is not None and daemon.process.returncode is None:
            daemon.kill()
            with trio.CancelScope(shield=True), trio.move_on_after(10):
                await daemon.process.wait()


async def refused(directory: Path, url: str, **settings: object) -> tuple[int, str]:
    """Start a daemon that must not become ready; return its exit status and what it said."""
    daemon = Daemon(directory, url, {key.replace("__", "."): value for key, value in settings.items()})
    try:
        await daemon.start()
    except AssertionError:
        return await daemon.ended(30), daemon.log.read_text()
    raise AssertionError("the daemon became ready")
