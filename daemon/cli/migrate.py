"""`hookd migrate`: bring the schema to what this version needs."""

import argparse
import json
from dataclasses import dataclass

import trio

from daemon.cli.database import command_database
from daemon.cli.failure import OK
from daemon.cli.settings import load_settings, log_for_people, log_source
from daemon.config.model import Config
from daemon.process.startup import database_url
from daemon.process.state import prepare_state
from daemon.store.database import Connection
from daemon.store.filter_checks import FilterProblems
from daemon.store.migrate import MIGRATION_TIMEOUT, Report, upgrade
from daemon.store.upkeep import make_partitions


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done to `schema`: the migrations, and the names of the partitions made.

    `filters`: those of subscriptions that are not evaluated.
    """

    schema: str
    report: Report
    partitions: tuple[str, ...]
    filters: FilterProblems


def run(args: argparse.Namespace) -> int:
    """Migrate, and print what that did; return the exit code."""
    loaded = load_settings(args)
    config = loaded.config
    log_for_people(config.logging)
    log_source(loaded)
    with database_url(config, prepare_state(config)) as url:
        outcome = trio.run(_migrate, config, url)
    print(as_json(outcome) if args.json else as_text(outcome))
    return OK


def as_text(outcome: Outcome) -> str:
    """Return one line for each thing that was done, and one for where the schema is now."""
    report = outcome.report
    lines = [f"applied the migration {name}" for name in report.applied]
    if report.functions_renewed:
        lines.append("renewed the functions")
    if outcome.partitions:
        lines.append(f"made {len(outcome.partitions)} partitions, up to {max(outcome.partitions)}")
    if outcome.filters.count:
        lines.append(str(outcome.filters))
    return "\n".join([*lines, f"the schema {outcome.schema} is up to date, at migration {report.version}"])


def as_json(outcome: Outcome) -> str:
    """Return the same as one JSON object."""
    report = outcome.report
    document = {
        "schema": outcome.schema,
        "version": report.version,
        "applied": report.applied,
        "functions_renewed": report.functions_renewed,
        "partitions_made": outcome.partitions,
        "filter_problems": {
            "count": outcome.filters.count,
            "first": {str(subscription_id): problem for subscription_id, problem in outcome.filters.told},
        },
    }
    return json.dumps(document)


async def _migrate(config: Config, url: str) -> Outcome:
    async with command_database(config, url, "migrate") as database:

        async def unit(connection: Connection) -> Outcome:
            report, filters = await upgrade(connection, database.statements)
            partitions = await make_partitions(connection, database)
            events = config.events
            rules = (list(events.types), events.max_bytes, events.max_depth)
            await connection.execute(database.sql("publishing_rules"), *rules)
            return Outcome(database.schema, report, tuple(partitions.made), filters)

        return await database.run(unit, MIGRATION_TIMEOUT)
