"""The embedded Postgres: a server of our own below the state directory, started on demand.

Several processes may use one server at the same time (the daemon and `hookd publish`). Each shares the lock
`users.lock`; whoever leaves last stops the server. A process that is killed leaves it running, and the next
adopts it. Starting and stopping happen under `start.lock`, and the server itself holds `server.lock`
for as long as one of its processes lives. The kernel drops a lock with its holders, so none can be stale.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from daemon.store import embedded_server as server
from daemon.store.embedded_home import EmbeddedError, Home, explained, furnish, leave_sockets, settle
from daemon.store.embedded_locks import locked, open_lock, share_lock, try_lock

__all__ = ["Embedded", "EmbeddedError", "embedded"]


START_SECONDS = 120.0
"""How long a start may take. After a power cut the server first replays its log."""


class Embedded:
    """A running embedded server, in use until `close`. All methods block: call them in a thread."""

    def __init__(self, state_directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """Start the server of `state_directory` with `settings` for postgresql.conf, or join it as it runs.

        Blocks for about half a second the first time, later 0.05 s. Errors: `EmbeddedError`.
        """
        self._settings = dict(settings or {})
        with explained("the embedded Postgres cannot start"):
            self._place = settle(state_directory)
            with locked(self._place / "start.lock"):
                self._users = open_lock(self._place / "users.lock")
                try:
                    share_lock(self._users)
                    self._home = furnish(self._place)
                    server.create(self._home)
                    _ensure(self._home, self._settings)
                except BaseException:
                    os.close(self._users)
                    raise

    @property
    def url(self) -> str:
        """The address to give to asyncpg or libpq; it holds no secret."""
        return f"postgresql://{server.USER}@/postgres?host={quote(str(self._home.sockets), safe='')}"

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self._home.log

    def ensure(self) -> None:
        """Start the server again if it is gone (killed for want of memory, say). Errors: `EmbeddedError`."""
        with explained("the embedded Postgres cannot start again"), locked(self._place / "start.lock"):
            _ensure(self._home, self._settings)

    def close(self) -> None:
        """Leave the server, and stop it if nobody else uses it. Errors: `EmbeddedError`."""
        try:
            with explained("the embedded Postgres cannot stop"), locked(self._place / "start.lock"):
                if try_lock(self._users) and _runs(self._home):
                    server.stop(self._home)
                    leave_sockets(self._home)
        finally:
            os.close(self._users)


@contextmanager
def embedded(state_directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Use the server of `state_directory` for the block, at the URL given. Errors: `EmbeddedError`."""
    running = Embedded(state_directory, settings)
    try:
        yield running.url
    finally:
        running.close()


def _ensure(home: Home, settings: Mapping[str, str]) -> None:
    """Have a server that answers. One that runs and does not answer is starting or ending: wait for it."""
    deadline = time.monotonic() + START_SECONDS
    log_offset: int | None = None
    while True:
        lock = open_lock(home.place / "server.lock")
        try:
            if try_lock(lock):
                if log_offset is not None:
                    raise EmbeddedError(
                        f"the embedded Postgres did not start; {server.excerpt(home, log_offset)}"
                    )
                log_offset = server.launch(home, settings, lock)
        finally:
            os.close(lock)
        if server.answers(home):
            return
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"the embedded Postgres on {home.data} runs but does not answer: see {home.log}, end its"
                " processes, then start again"
            )
        time.sleep(0.005)


def _runs(home: Home) -> bool:
    lock = open_lock(home.place / "server.lock")
    try:
        return not try_lock(lock)
    finally:
        os.close(lock)
