"""Recording: what became of leased deliveries, written in batches.

The rules live in `sql/functions/`: 60_record, and what that settles. Here each field of a `Result` names the
argument of record() that it goes into, so that a new one is told of once: the field makes the statement and
its arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Annotated, get_type_hints
from uuid import UUID

from daemon.model import LaneEffect, Outcome, Reason
from daemon.store.columns import Pack, alike, every, some, unusual
from daemon.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Column:
    """The argument of record() that a field of the results goes into, and how its values are packed."""

    argument: str
    pack: Pack


@dataclass(slots=True)
class Held:
    """A delivery that a lease holds. `attempt` counts from 1."""

    token: Annotated[UUID, Column("p_tokens", alike)]
    delivery_id: Annotated[UUID, Column("p_deliveries", every)]
    subscription_id: Annotated[UUID, Column("p_subscriptions", every)]
    host_id: Annotated[int, Column("p_hosts", alike)]
    event_id: Annotated[UUID, Column("p_events", every)]
    event_type: Annotated[str, Column("p_types", alike)]
    attempt: Annotated[int, Column("p_attempts", alike)]

    def result(self, outcome: Outcome, error: str | None = None, started: float | None = None) -> "Result":
        """Return the result that gives the delivery back."""
        return Result(
            self.token,
            self.delivery_id,
            self.subscription_id,
            self.host_id,
            self.event_id,
            self.event_type,
            self.attempt,
            outcome,
            error=error,
            started=started,
        )


@dataclass(slots=True)
class Result(Held):
    """What became of a leased delivery.

    `delay` and `hold` are in seconds, `duration` and `phases` (dns, connect, tls, first byte) in
    milliseconds, `started` in Unix seconds. `host_failed` is None where the attempt says nothing of the host.
    `note`: what was imperfect in the answer; `headers`: those of it that are kept, a line each.
    """

    outcome: Annotated[Outcome, Column("p_outcomes", unusual(Outcome.SUCCEEDED))]
    reason: Annotated[Reason | None, Column("p_reasons", some)] = None
    status: Annotated[int | None, Column("p_statuses", alike)] = None
    error: Annotated[str | None, Column("p_errors", some)] = None
    delay: Annotated[float | None, Column("p_delays", some)] = None
    hold: Annotated[float | None, Column("p_holds", some)] = None
    lane: Annotated[LaneEffect, Column("p_lanes", unusual(LaneEffect.ANSWERED_WELL))] = LaneEffect.NEUTRAL
    host_failed: Annotated[bool | None, Column("p_host_failed", unusual(False))] = None
    started: Annotated[float | None, Column("p_started", every)] = None
    duration: Annotated[float | None, Column("p_durations", every)] = None
    phases: Annotated[str | None, Column("p_phases", every)] = None
    excerpt: Annotated[str | None, Column("p_excerpts", alike)] = None
    note: Annotated[str | None, Column("p_notes", some)] = None
    headers: Annotated[str | None, Column("p_headers", some)] = None


def _columns() -> dict[str, Column]:
    """Return the columns by the name of their field."""
    hints = get_type_hints(Result, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in Result.__dataclass_fields__}


COLUMNS = _columns()
_NAMED = ", ".join(f"{column.argument} => ${n}" for n, column in enumerate(COLUMNS.values(), 3))
_FIELDS = [(attrgetter(name), column.pack) for name, column in COLUMNS.items()]


def record_statement(statement: str) -> str:
    """Return the statement `record` with the arguments that `record_arguments` gives, by name."""
    return statement.replace("{results}", _NAMED)


def record_arguments(
    results: Sequence[Result], done: Sequence[UUID], disable_after: float
) -> tuple[object, ...]:
    """Return the arguments of `record_statement`."""
    columns = [pack(list(map(field, results))) for field, pack in _FIELDS]
    return (list(done), timedelta(seconds=disable_after), *columns)


@dataclass(frozen=True, slots=True)
class Circuit:
    """A host's open circuit: how many times in a row it opened, and for how many seconds it blocks."""

    host_id: int
    name: str
    trips: int
    blocked_for: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """For each result whether its lease still held the delivery; open circuits of the hosts that failed.

    `pending`: a claim may find something at these hosts, now or later.
    """

    counted: list[bool]
    circuits: list[Circuit]
    pending: bool


async def record(
    database: Database,
    connection: Connection,
    results: Sequence[Result],
    done: Sequence[UUID],
    disable_after: float,
) -> Recorded:
    """Record `results` and drop those of the leases `done` that hold nothing any more, in a unit of work.

    Run twice, it counts once. `disable_after`: seconds of nothing but failures after which a subscription is
    disabled.
    """
    statement = record_statement(database.sql("record"))
    [(counted, pending)] = await connection.fetch(statement, *record_arguments(results, done, disable_after))
    failed = list({one.host_id for one in results if one.host_failed})
    rows = await connection.fetch(database.sql("open_circuits"), failed) if failed else []
    return Recorded(counted or [], [Circuit(**row) for row in rows], pending)


async def leased(database: Database, token: UUID) -> list[Held]:
    """Return what the lease holds: for a claim whose answer was lost."""
    statement = database.sql("leased")

    async def unit(connection: Connection) -> list[Held]:
        return [Held(**row) for row in await connection.fetch(statement, token)]

    return await database.run(unit)


async def expired(database: Database, limit: int) -> tuple[list[Held], list[UUID]]:
    """Return what up to `limit` leases past their end still hold, and the tokens of those leases."""
    statement = database.sql("expired_leases")

    async def unit(connection: Connection) -> tuple[list[Held], list[UUID]]:
        rows = await connection.fetch(statement, limit)
        held = [Held(**row) for row in rows if row["delivery_id"] is not None]
        return held, list({row["token"] for row in rows})

    return await database.run(unit)
