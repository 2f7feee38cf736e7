"""One run of `hookd dev`: the daemon and its receivers, events published, arrivals awaited, the end."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import trio

from daemon.cli.addresses import client_url
from daemon.cli.dev_banner import durations, show_examples, show_facts, show_summary
from daemon.cli.dev_client import Client
from daemon.cli.dev_inbox import FLAKY, FLAKY_FAILURES, INBOX, Inbox
from daemon.cli.dev_tally import Tally
from daemon.cli.failure import FAILED, INTERRUPTED, OK, CommandError, complain
from daemon.cli.parsers.dev import TRICKLED
from daemon.cli.receiver import serve_receiver
from daemon.cli.sample import sample_events
from daemon.cli.screen import Screen, Verb
from daemon.cli.token import mint
from daemon.model import Role
from daemon.process.main import Running, run_daemon
from daemon.process.startup import Prepared
from daemon.process.token_secret import token_secret

DEADLINE = 60.0
"""Seconds within which, with --exit, all must have arrived."""
TRICKLE = 1.0
"""Seconds between two events after the sample."""
FLAKY_TYPE = "match.proposed"
ORGANISATION = UUID("018f6d1e-6a00-7000-8000-000000000001")
"""The same at each run, so that a line copied from an earlier one still works."""
SET_UP_TIMEOUT = 60.0
STOP_MARGIN = 5.0
_TOKEN_TTL = 60.0
_BANNER_TTL = 86_400.0


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
        code = FAILED
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
        if not daemon_stopped.is_set():
            return INTERRUPTED
        if code == FAILED:
            complain(
                f"deliveries that had not arrived after {seconds:.0f} s: {len(missing)}; see above which they"
                " are, and start again with --verbose"
            )
        return code

    async def _flow(self, url: str, receiver: str) -> int:
        """Register, publish, and wait for the end; return the exit code."""
        client = Client(url, lambda: self._token(_TOKEN_TTL))
        try:
            self._introduce(url, receiver)
            self._screen.happened(Verb.READY, "daemon and receiver")
            inbox = await self._register(client, receiver, INBOX, self._types)
            await self._register(client, receiver, FLAKY, [self._flaky])
            self._show_examples(url, inbox)
            return await self._publish(client)
        finally:
            await client.close()

    async def _register(self, client: Client, receiver: str, path: str, types: Sequence[str]) -> str:
        """Register one of the receivers and return the subscription's id."""
        subscription, self._inbox.secrets[path] = await client.register(receiver + path, types)
        what = types[0] if len(types) == 1 else f"all {len(types)} types"
        self._screen.happened(Verb.REGISTERED, what, path=path)
        return subscription

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
        return OK if await self._all_arrived(deadline) else FAILED

    async def _all_arrived(self, deadline: float) -> bool:
        """Wait until all has arrived, or for `deadline` or to be told to stop; tell whether it has."""

        async def watch_stop() -> None:
            await self._stop.wait()
            waiting.cancel_scope.cancel()

        async with trio.open_nursery() as waiting:
            waiting.cancel_scope.deadline = deadline
            waiting.start_soon(watch_stop)
            await self._tally.settled()
            waiting.cancel_scope.cancel()
        return not self._tally.missing()

    async def _stopped_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._stop.wait()
        return self._stop.is_set()

    def _token(self, ttl: float) -> str:
        roles = [Role.ORG_ADMIN, Role.PUBLISHER]
        return mint(
            self._config.auth, self._secret, org=ORGANISATION, roles=roles, ttl=ttl, subject="hookd-dev"
        )

    def _introduce(self, url: str, receiver: str) -> None:
        bind = self._notes.bind
        note = ""
        if bind != self._config.api.bind:
            note = f"  (instead of {bind}{'' if bind.startswith('unix:') else ', which is taken'})"
        show_facts(
            self._screen,
            [
                ("API", url + note),
                ("receiver", receiver),
                ("", f"{INBOX} takes everything"),
                ("", f"{FLAKY} takes {self._flaky}, with 503 for the first {FLAKY_FAILURES} attempts"),
                ("retries", f"after {durations(self._config.delivery.retry_schedule)}"),
                ("", f"(hookd run: {self._notes.schedule})"),
                ("database", f"in {self._preparation.state}"),
                ("", "emptied at each start"),
            ],
        )

    def _show_examples(self, url: str, subscription: str) -> None:
        show_examples(
            self._screen,
            url=url,
            subscription=subscription,
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
    """At a first signal set `stop`, at a second cancel `scope`, at a third end the process."""
    # SIGHUP: the terminal was closed, and Postgres must not outlive it.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            if scope.cancel_called:
                os._exit(INTERRUPTED)
            if stop.is_set():
                scope.cancel()
            stop.set()
