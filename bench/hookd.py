"""The daemon as shipped: a process of its own, started by its own command, set up by `--set` alone."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import jwt

from bench.processes import end, family_time, first_line, peak_memory, spawn
from bench.report import CannotRun

EVENT_TYPE = "match.proposed"
SETTINGS: Mapping[str, object] = {
    "api.bind": "127.0.0.1:0",
    "egress.https_only": False,
    "egress.allow_networks": ["127.0.0.0/8"],
    # Receivers that can take all: what is measured is the daemon, not its politeness.
    "hosts.rate": 1_000_000,
    "hosts.burst": 1_000_000,
    "hosts.in_flight": 100_000,
}
SHIPPED = ("daemon.cli",)
"""The module that is run, and its own arguments before the command's."""


class Hookd:
    """A running daemon. `ready_at`: when it said so, by the monotonic clock.

    `checkout`: another hookd than this one, with a `.venv` of its own.
    """

    def __init__(
        self,
        state: Path,
        database_url: str,
        settings: Mapping[str, object] | None = None,
        program: tuple[str, ...] = SHIPPED,
        checkout: Path | None = None,
    ) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = state
        self.log = state / "hookd.log"
        given = {
            **SETTINGS,
            "database.url": database_url,
            "state.directory": str(state),
            **(settings or {}),
        }
        options = [word for key, value in given.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        command = [sys.executable, "-m", *program]
        environ = {}
        if checkout is not None:
            command = [str(checkout / ".venv" / "bin" / "hookd")]
            environ = {"PYTHONPATH": str(checkout)}
        self.process = spawn([*command, "run", *options], self.log, environ=environ)
        line = first_line(self.process, self.log)
        self.ready_at = time.monotonic()
        self.address = "http://" + line.split("http://")[1].split()[0].rstrip("/")

    def cpu(self) -> float:
        """Return the processor time of all its processes so far, in seconds."""
        return family_time(self.process.pid)

    def peak_mib(self) -> float:
        """Return the most memory that it has had in use, in MiB."""
        return peak_memory(self.process.pid) / 2**20

    def token(self, org_id: UUID, *roles: str) -> str:
        """Return a token of the organisation, good for an hour."""
        secret = (self._state / "token.secret").read_text().strip()
        claims = {"sub": "bench", "org_id": str(org_id), "roles": list(roles), "exp": int(time.time()) + 3600}
        return jwt.encode(claims, secret, algorithm="HS256")

    def client(self, org_id: UUID, *roles: str) -> httpx.Client:
        """Return a client of its API with a token of the organisation."""
        return httpx.Client(
            base_url=self.address,
            headers={"authorization": f"Bearer {self.token(org_id, *roles)}"},
            timeout=60,
            trust_env=False,
        )

    def register(self, org_id: UUID, url: str) -> None:
        """Register a subscription through the API. Error: `CannotRun`."""
        with self.client(org_id, "org_admin") as client:
            answer = client.post("/webhooks", json={"url": url, "events": [EVENT_TYPE]})
        if answer.status_code != 201:
            raise CannotRun(f"the API refused a subscription: {answer.status_code} {answer.text}")

    def stop(self) -> None:
        """Stop it in order."""
        end(self.process)


@contextmanager
def hookd(
    state: Path,
    database_url: str,
    settings: Mapping[str, object] | None = None,
    program: tuple[str, ...] = SHIPPED,
    checkout: Path | None = None,
) -> Iterator[Hookd]:
    """Run the daemon for the block."""
    running = Hookd(state, database_url, settings, program, checkout)
    try:
        yield running
    finally:
        running.stop()
