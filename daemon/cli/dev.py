"""`hookd dev`: everything at once on one machine, and each thing that happens on the screen."""

import argparse
import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import trio

from daemon.cli.dev_banner import durations
from daemon.cli.dev_settings import dev_settings, on_free_port
from daemon.cli.dev_show import Notes, Show
from daemon.cli.failure import CommandError
from daemon.cli.screen import Style, standard_screen
from daemon.cli.settings import load_settings, log_for_people
from daemon.process.startup import prepared
from daemon.process.state import prepare_state
from daemon.store.embedded_locks import open_lock, try_lock

CONNECT_TIMEOUT = 10.0
EMPTY_TIMEOUT = 60.0


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or with `--exit` until all has arrived; return the exit code."""
    screen = standard_screen(args.color)
    loaded, state = dev_settings(args)
    config = loaded.config
    # That secrets are made is of no interest here: they protect nothing.
    log_for_people(config.logging, "" if args.verbose else "error")
    with _alone(prepare_state(config)):
        screen.text(f"starting a Postgres of its own in {state} ...", Style.DIM)
        with prepared(loaded) as preparation:
            asyncio.run(_empty(preparation.database_url))
            preparation.master_key_file.make()
            log_for_people(config.logging)
            usual = load_settings(args, here=True).config
            notes = Notes(bind=usual.api.bind, schedule=durations(usual.delivery.retry_schedule))
            # As late as possible: another process may take a port that was free.
            show = Show(on_free_port(preparation), screen, notes, ends=args.exit)
            return trio.run(show.run)


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
        await connection.execute(statement, timeout=EMPTY_TIMEOUT)
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT)
