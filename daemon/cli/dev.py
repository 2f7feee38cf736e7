"""`hookd dev`: everything at once on one machine, and each thing that happens on the screen."""

import argparse
import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import trio

from daemon.cli.addresses import client_url
from daemon.cli.dev_banner import durations, show_examples, show_facts, show_summary
from daemon.cli.dev_client import Client
from daemon.cli.dev_settings import dev_settings
from daemon.cli.failure import FAILED, INTERRUPTED, OK, CommandError, complain
from daemon.cli.inbox import FLAKY, FLAKY_FAILURES, INBOX, Inbox
from daemon.cli.receiver import serve_receiver
from daemon.cli.sample import sample_events
from daemon.cli.screen import Screen, Style, Verb, standard_screen
from daemon.cli.settings import load_settings
from daemon.cli.tally import Tally
from daemon.cli.token import mint
from daemon.model import Role
from daemon.process import logs
from daemon.process.main import Running, run_daemon
from daemon.process.prepare import Prepared, prepare_state, prepared, token_secret
from daemon.store.embedded_locks import open_lock, try_lock

DEADLINE = 60.0
"""Seconds within which, with --exit, all must have arrived."""
TRICKLE = 1.0
"""Seconds between two events after the sample."""
TRICKLED = 3
"""Events after the sample that --exit waits for."""
FLAKY_TYPE = "match.proposed"
ORGANISATION = UUID("018f6d1e-6a00-7000-8000-000000000001")
"""The same at each run, so that a line copied from an earlier one still works."""
CONNECT_TIMEOUT = 10.0
STOP_MARGIN = 5.0
SET_UP_TIMEOUT = 60.0
_TOKEN_TTL = 60.0
_BANNER_TTL = 86_400.0

_DESCRIPTION = """
See hookd work, with nothing set up: in one process run an embedded Postgres, the daemon
and a receiver that verifies each signature; register subscriptions, publish one event of
each type and then one a second, all through the REST API; and show what happens.

/inbox takes everything. /flaky takes match.proposed, and answers 503 twice for
each event before it takes it, so that retries are seen.

It differs from `hookd run` in this: state in <state>/dev, the database emptied at each
start; retries after 1s, 2s, 3s; http:// and the loopback allowed as receivers; a free
port if the configured one is taken; tokens by a secret of its own; logs from warnings on.
"""
_EPILOG = """
Examples:
  hookd dev
  hookd dev --verbose --set 'delivery.retry_schedule=["500ms", "5s"]'
  hookd dev --exit      prove that an installation works, then stop

Exit codes:
  0  stopped by Ctrl-C; with --exit: all was delivered and verified
  1  could not start, or failed; with --exit: not all arrived within a minute
  2  wrong usage or configuration

A second Ctrl-C ends it at once.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "dev", help="see it work on this machine, with events flowing", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "--exit", action="store_true", help=f"stop when the sample and {TRICKLED} more events have arrived"
    )
    parser.add_argument("--verbose", action="store_true", help="show the daemon's log, not only warnings")
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="colours (default: auto, on a terminal)"
    )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or with `--exit` until all has arrived; return the exit code."""
    screen = standard_screen(args.color)
    loaded, state = dev_settings(args)
    config = loaded.config
    # That secrets are made is of no interest here: they protect nothing.
    logs.configure(config.logging.level if args.verbose else "error", config.logging.format)
    with _alone(prepare_state(config)):
        screen.text(f"starting a Postgres of its own in {state} ...", Style.DIM)
        with prepared(loaded) as preparation:
            asyncio.run(_empty(preparation.database_url))
            logs.configure(config.logging.level, config.logging.format)
            usual = load_settings(args).config
            notes = Notes(bind=usual.api.bind, schedule=durations(usual.delivery.retry_schedule))
            return trio.run(Show(preparation, screen, notes, ends=args.exit).run)


@dataclass(frozen=True, slots=True)
class Notes:
    """What `hookd run` would have instead."""

    bind: str
    schedule: str


class Show:
    """One run: the daemon, its receivers, and the events that flow."""

    def __init__(self, preparation: Prepared, screen: Screen, notes: Notes, *, ends: bool) -> None:
        """Prepare a run; with `ends` it is over when all has arrived. Error: `StartError`."""
        config = preparation.config
        self._preparation = preparation
        self._config = config
        self._screen = screen
        self._notes = notes
        self._ends = ends
        self._secret = token_secret(config, preparation.state)
        self._types = config.events.types
        self._flaky = FLAKY_TYPE if FLAKY_TYPE in self._types else self._types[0]
        self._tally = Tally()
        self._inbox = Inbox(
            screen,
            self._tally,
            retry_schedule=config.delivery.retry_schedule,
            header_prefix=config.signing.header_prefix,
        )
        self._stop = trio.Event()

    async def run(self) -> int:
        """Run everything; return the exit code."""
        daemon_stop, daemon_stopped = trio.Event(), trio.Event()
        began = trio.current_time()
        code = INTERRUPTED
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve_signals, self._stop, nursery.cancel_scope)
            # Before anything is registered: no delivery may come too early.
            port: int = await nursery.start(serve_receiver, self._inbox.answer)
            with trio.move_on_after(SET_UP_TIMEOUT) as starting:
                running: Running = await nursery.start(
                    _serve_daemon, self._preparation, daemon_stop, daemon_stopped
                )
            if starting.cancelled_caught:
                raise CommandError(f"the daemon was not ready after {SET_UP_TIMEOUT:g} s: see --verbose")
            url = client_url(running.addresses[0])
            began = trio.current_time()
            code = await self._flow(url, f"http://127.0.0.1:{port}")
            self._screen.happened(Verb.STOPPING)
            daemon_stop.set()
            with trio.move_on_after(self._config.daemon.stop_timeout + STOP_MARGIN):
                await daemon_stopped.wait()
            nursery.cancel_scope.cancel()
        seconds = trio.current_time() - began
        missing = self._tally.missing()
        show_summary(self._screen, self._tally.counts, missing, seconds)
        if code == FAILED:
            complain(
                f"{len(missing)} deliveries had not arrived after {seconds:.0f} s: see above which they are,"
                " and start again with --verbose"
            )
        return code

    async def _flow(self, url: str, receiver: str) -> int:
        """Register, publish, and wait for the end; return the exit code."""
        client = Client(url, lambda: self._token(_TOKEN_TTL))
        try:
            self._introduce(url, receiver)
            self._screen.happened(Verb.READY, "daemon and receiver")
            await self._register(client, receiver, INBOX, self._types)
            await self._register(client, receiver, FLAKY, [self._flaky])
            return await self._publish(client)
        finally:
            await client.close()

    async def _register(self, client: Client, receiver: str, path: str, types: Sequence[str]) -> None:
        self._inbox.secrets[path] = await client.register(receiver + path, types)
        what = types[0] if len(types) == 1 else f"all {len(types)} types"
        self._screen.happened(Verb.REGISTERED, what, path=path)

    async def _publish(self, client: Client) -> int:
        """Publish the sample, then one event a second until told to stop or, with `ends`, all has arrived."""
        deadline = trio.current_time() + DEADLINE
        sample = sample_events(self._types)
        for number, (event_type, data) in enumerate(sample, start=1):
            if number > len(self._types) and await self._stopped_within(TRICKLE):
                return FAILED if self._ends else OK
            event_id = await client.publish(event_type, data)
            paths = {INBOX, FLAKY} if event_type == self._flaky else {INBOX}
            self._screen.happened(Verb.PUBLISHED, event_type, event_id)
            self._tally.published(event_id, event_type, paths)
            if self._ends and number == len(self._types) + TRICKLED:
                break
        with trio.move_on_at(deadline):
            await self._tally.settled()
            return OK
        return FAILED

    async def _stopped_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._stop.wait()
        return self._stop.is_set()

    def _token(self, ttl: float) -> str:
        roles = [Role.ORG_ADMIN, Role.PUBLISHER]
        return mint(self._config.auth, self._secret, org=ORGANISATION, roles=roles, ttl=ttl, subject="hookd-dev")

    def _introduce(self, url: str, receiver: str) -> None:
        taken = url != client_url(self._notes.bind)
        schedule = durations(self._config.delivery.retry_schedule)
        show_facts(
            self._screen,
            url=url,
            note=f"  ({self._notes.bind} is not free)" if taken else "",
            receiver=f"{receiver}  {INBOX}: everything; {FLAKY}: {self._flaky}, fails {FLAKY_FAILURES} times",
            retries=f"after {schedule}  (hookd run: {self._notes.schedule})",
            database=f"in {self._preparation.state}, emptied at each start",
        )
        show_examples(
            self._screen,
            url=url,
            token=self._token(_BANNER_TTL),
            database_url=self._preparation.database_url,
            org=ORGANISATION,
            event_type=self._types[0],
        )


async def _serve_daemon(
    preparation: Prepared,
    stop: trio.Event,
    stopped: trio.Event,
    *,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the daemon until `stop` is set; starts when it is ready."""
    await run_daemon(preparation, ready=task_status.started, stop=stop, signals=False)
    stopped.set()


async def _serve_signals(
    stop: trio.Event,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set `stop` at the first SIGINT or SIGTERM, cancel `scope` at the second, end the process at the third."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for _ in received:
            if scope.cancel_called:
                os._exit(INTERRUPTED)
            if stop.is_set():
                scope.cancel()
            stop.set()


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keep others that would empty the same database away. Error: `CommandError`."""
    lock = open_lock(state / "dev.lock")
    try:
        if not try_lock(lock):
            raise CommandError(
                f"another hookd dev runs in {state}: stop it, or give this one a state of its own with"
                " --set state.directory=PATH"
            )
        yield
    finally:
        os.close(lock)


async def _empty(database_url: str) -> None:
    """Drop what an earlier run left, as it may owe events to receivers that are gone."""
    statement = Path(__file__).with_name("clean.sql").read_text()
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT)
    try:
        await connection.execute(statement, timeout=SET_UP_TIMEOUT)
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT)
