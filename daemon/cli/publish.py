"""`hookd publish`: events straight into the database, whether or not the daemon runs."""

import argparse
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import trio

from daemon.cli.database import command_database
from daemon.cli.failure import OK, CommandError, UsageError
from daemon.cli.incoming import NewId, Refused, event_of_line, event_of_options
from daemon.cli.lines import Lines
from daemon.cli.settings import load_settings, log_for_people
from daemon.clock import Clock
from daemon.config.model import Config
from daemon.process.startup import database_url
from daemon.process.state import prepare_state
from daemon.schemas import SchemaError, Schemas, load_schemas
from daemon.store.database import (
    Connection,
    Database,
    DatabaseUnavailable,
    RetryTransaction,
)
from daemon.store.database_clock import correct_clock
from daemon.store.events import Events, NewEvent
from daemon.store.migrate import check
from daemon.store.upkeep import make_partitions
from daemon.uuid7 import NewIds, uuid7

_TRIES = 5


def run(args: argparse.Namespace) -> int:
    """Publish, and print the ids; return the exit code."""
    if (args.type is None) == (args.file is None):
        raise UsageError("publish takes either --type or a FILE: give one of them (- is standard input)")
    if args.data is not None and args.type is None:
        raise UsageError("--data belongs to --type: give both, or put the data into the FILE")
    config = load_settings(args).config
    log_for_people(config.logging)
    try:
        schemas = load_schemas(config.events.schemas)
    except SchemaError as error:
        raise UsageError(str(error)) from None
    if args.type is not None:
        make = partial(
            event_of_options, args.type, args.data or "{}", args.org, config.events, schemas=schemas
        )
        try:
            make(uuid7)  # what is refused needs no database
        except Refused as refusal:
            raise CommandError(f"{refusal}; nothing was published") from None
        with database_url(config, prepare_state(config)) as url:
            trio.run(_publish_one, config, url, make, args.json)
        return OK
    with _opened(args.file) as descriptor, database_url(config, prepare_state(config)) as url:
        trio.run(_publish_lines, config, schemas, url, args.org, descriptor, args.json)
    return OK


async def _publish_one(config: Config, url: str, make: Callable[[NewId], NewEvent], as_json: bool) -> None:
    async with _opened_events(config, url) as opened:
        _print([1], await _persist(opened.events, [make(opened.new_id)]), as_json)


async def _publish_lines(
    config: Config, schemas: Schemas, url: str, org: UUID, descriptor: int, as_json: bool
) -> None:
    """Publish until the first line that cannot be. Error: `CommandError`, which says what was accepted."""
    lines = Lines(descriptor, most=config.api.max_body)
    most = config.api.max_batch
    accepted = 0
    async with _opened_events(config, url) as opened:
        while some := await lines.some():
            await opened.correct()
            for batch, fault in _batches(some, most, org, config, schemas, opened.new_id):
                if batch:
                    numbers = [number for number, _ in batch]
                    try:
                        ids = await _persist(opened.events, [event for _, event in batch])
                    except DatabaseUnavailable as error:
                        raise CommandError(f"{error}; {_lost(accepted, numbers)}") from error
                    accepted += len(ids)
                    _print(numbers, ids, as_json)
                if fault:
                    raise CommandError(f"{fault}; {_so_far(accepted)}")


def _batches(
    lines: Sequence[tuple[int, bytes]],
    most: int,
    org: UUID,
    config: Config,
    schemas: Schemas,
    new_id: NewId,
) -> Iterator[tuple[list[tuple[int, NewEvent]], str]]:
    """Yield up to `most` numbered events at a time, and with the last what is wrong with the next line."""
    batch: list[tuple[int, NewEvent]] = []
    for number, line in lines:
        try:
            if len(line) > config.api.max_body:
                raise Refused(
                    f"longer than {config.api.max_body} bytes (api.max_body); send less in one event"
                )
            batch.append((number, event_of_line(line, org, config.events, new_id, schemas)))
        except Refused as refusal:
            yield batch, f"line {number}: {refusal}"
            return
        if len(batch) == most:
            yield batch, ""
            batch = []
    yield batch, ""


async def _persist(events: Events, batch: Sequence[NewEvent]) -> list[UUID]:
    for _ in range(_TRIES - 1):
        try:
            return await events.publish(batch)
        except RetryTransaction:
            continue
    return await events.publish(batch)


def _print(numbers: Sequence[int], ids: Sequence[UUID], as_json: bool) -> None:
    for number, identifier in zip(numbers, ids, strict=True):
        print(json.dumps({"line": number, "id": str(identifier)}) if as_json else identifier)
    sys.stdout.flush()


def _so_far(accepted: int) -> str:
    match accepted:
        case 0:
            return "nothing was published"
        case 1:
            return "the 1 event before it was published"
    return f"the {accepted} events before it were published"


def _lost(accepted: int, numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    those = f"the event of line {first}" if first == last else f"the events of lines {first} to {last}"
    return (
        f"{accepted} published before, and {those} perhaps: go on from line {first}"
        " (an event with a key is not published twice)"
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A database to publish to. `new_id` gives events their ids, by the database's clock."""

    database: Database
    clock: Clock
    events: Events
    new_id: NewId

    async def correct(self) -> None:
        """Look at the database's clock again, if it can be reached: lines may come for days."""

        async def unit(connection: Connection) -> None:
            await correct_clock(connection, self.database, self.clock)

        with suppress(DatabaseUnavailable, RetryTransaction):
            await self.database.run(unit)


@asynccontextmanager
async def _opened_events(config: Config, url: str) -> AsyncIterator[_Opened]:
    """Open the database and see that it has the schema."""
    clock = Clock()
    async with command_database(config, url, "publish") as database:

        async def unit(connection: Connection) -> None:
            await check(connection, database.statements)
            await correct_clock(connection, database, clock)
            # After weeks without a daemon there may be none for today.
            await make_partitions(connection, database)

        await database.run(unit)
        yield _Opened(database, clock, Events(database), NewIds(clock.now))


@contextmanager
def _opened(name: str) -> Iterator[int]:
    """Give the file descriptor of a file or, for "-", of standard input. Error: `CommandError`."""
    if name == "-":
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"{name}: cannot be read ({error.strerror}): correct the name") from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise CommandError(f"{name}: is a directory: name a file with one event a line")
        yield descriptor
    finally:
        os.close(descriptor)
