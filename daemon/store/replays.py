"""Replays: past events sent to one subscription once more. Asked for, read, cancelled, and fed to the queue.

The rules live in `sql/functions/76_replay.sql`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import trio

from daemon.store.database import Connection, Database

MAX_EVENTS = 1_000_000
"""Events of one replay."""
MAX_RUNNING = 3
"""Replays of one subscription that run at once."""
MAX_RUNNING_OF_ORGANISATION = 20
FINDING_AT_ONCE = 2
"""Searches for events that a daemon makes at once, so that they leave connections to others."""
GIVE_UP_AT_ONCE = 5_000
DROP_AT_ONCE = 10_000
FEED_AT_ONCE = 100
"""Replays fed in one round."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: from `since` to before `until`, of types that `patterns` cover (None: all it wants)."""

    since: datetime
    until: datetime
    only_failed: bool = False
    patterns: Sequence[str] | None = None

    @property
    def arguments(self) -> tuple[object, ...]:
        """As the statements take it."""
        return (self.since, self.until, self.only_failed, self.patterns)


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and how far it is. `status`: running, done or cancelled; `queued` and `skipped` of `total`."""

    id: UUID
    subscription_id: UUID
    status: str
    total: int
    queued: int
    skipped: int
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Feeding:
    """What a round of feeding did. `last`: by replay, the event up to which its deliveries have been made."""

    made: int
    running: bool
    last: Mapping[UUID, UUID]


class ReplayRefused(Exception):
    """Nothing was written."""


class NoSubscription(ReplayRefused):
    """The organisation has no such subscription."""


class TooManyReplays(ReplayRefused):
    """The subscription, or the organisation (`whose`), has `limit` running replays already."""

    def __init__(self, limit: int, whose: str = "subscription") -> None:
        super().__init__(f"{limit} replays of the {whose} run already")
        self.limit = limit
        self.whose = whose


class TooManyEvents(ReplayRefused):
    """The selection has more than `limit` events."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the selection has more than {limit} events")
        self.limit = limit


class SelectionTooSlow(ReplayRefused):
    """Finding the events took longer than database.command_timeout allows."""


class StillFinding(ReplayRefused):
    """Events for another replay of the organisation are being found at this moment."""


class Replays:
    """The replays of a database. `changed` is called when the feeder has something to do."""

    def __init__(self, database: Database, *, changed: Callable[[], None]) -> None:
        self._database = database
        self._changed = changed
        self._finding: set[UUID] = set()
        self._places = trio.Semaphore(FINDING_AT_ONCE)

    async def ask(
        self, *, replay_id: UUID, org_id: UUID, subscription_id: UUID, selection: Selection
    ) -> Replay:
        """Write down what a new replay will send. Errors: `ReplayRefused`, `DatabaseUnavailable`.

        Deliveries pending for later (`deliver_after`) stay as they are. Events from before it wanted
        them are sent at once, also those that others are to get later.
        """
        ask, read = self._database.sql("ask_replay"), self._database.sql("replay")

        async def unit(connection: Connection) -> Replay:
            await self._settle_routing(connection, org_id)
            async with connection.transaction():
                try:
                    row = await connection.fetchrow(
                        ask,
                        replay_id,
                        org_id,
                        subscription_id,
                        *selection.arguments,
                        MAX_EVENTS,
                        MAX_RUNNING,
                        MAX_RUNNING_OF_ORGANISATION,
                    )
                except TimeoutError as error:
                    raise SelectionTooSlow from error
                outcome = None if row is None else row["outcome"]
                if outcome == "missing":
                    raise NoSubscription
                if outcome == "busy":
                    raise TooManyReplays(MAX_RUNNING)
                if outcome == "busy_org":
                    raise TooManyReplays(MAX_RUNNING_OF_ORGANISATION, "organisation")
                if outcome == "too_many":
                    raise TooManyEvents(MAX_EVENTS)
                [made] = await connection.fetch(read, org_id, subscription_id, replay_id)
                return Replay(**made)

        async with self._place(org_id):
            replay = await self._database.run(unit)
        self._changed()
        return replay

    async def count(self, *, org_id: UUID, subscription_id: UUID, selection: Selection) -> int:
        """Return how many events a replay would send.

        Errors: `TooManyEvents`, `SelectionTooSlow`, `StillFinding`, `DatabaseUnavailable`.
        """
        statement = self._database.sql("count_replayable")

        async def unit(connection: Connection) -> int:
            await self._settle_routing(connection, org_id)
            try:
                count: int = await connection.fetchval(
                    statement,
                    org_id,
                    subscription_id,
                    *selection.arguments,
                    MAX_EVENTS + 1,
                )
            except TimeoutError as error:
                raise SelectionTooSlow from error
            return count

        async with self._place(org_id):
            count = await self._database.run(unit)
        if count > MAX_EVENTS:
            raise TooManyEvents(MAX_EVENTS)
        return count

    @asynccontextmanager
    async def _place(self, org_id: UUID) -> AsyncIterator[None]:
        """Give a search of the organisation its place, once there is one. Error: `StillFinding`."""
        if org_id in self._finding:
            raise StillFinding("events for another replay of the organisation are being found")
        self._finding.add(org_id)
        try:
            async with self._places:
                yield
        finally:
            self._finding.remove(org_id)

    async def _settle_routing(self, connection: Connection, org_id: UUID) -> None:
        """Wait for the router that may not know of the subscription yet; in a transaction of its own."""
        try:
            await connection.execute(self._database.sql("settle_routing"), org_id)
        except TimeoutError as error:
            raise SelectionTooSlow from error

    async def get(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        """Return the replay if the organisation's subscription has it."""
        statement = self._database.sql("replay")

        async def unit(connection: Connection) -> Replay | None:
            row = await connection.fetchrow(statement, org_id, subscription_id, replay_id)
            return None if row is None else Replay(**row)

        return await self._database.run(unit)

    async def page(
        self, org_id: UUID, subscription_id: UUID, *, limit: int, before: UUID | None
    ) -> list[Replay]:
        """Return up to `limit` replays of the subscription, newest first, with ids below `before`."""
        statement = self._database.sql("replays_page")

        async def unit(connection: Connection) -> list[Replay]:
            rows = await connection.fetch(statement, org_id, subscription_id, before, limit)
            return [Replay(**row) for row in rows]

        return await self._database.run(unit)

    async def cancel(self, org_id: UUID, subscription_id: UUID, replay_id: UUID) -> Replay | None:
        """End a replay and give up what it still owes; None if there is none.

        What is being sent is not sent again if it fails. Done again, it goes on where it was cut short; a
        replay that is done and owes nothing stays as it is.
        """
        cancel, read = self._database.sql("cancel_replay"), self._database.sql("replay")
        give_up = self._database.sql("give_up_replay")

        async def unit(connection: Connection) -> Replay | None:
            await connection.execute(cancel, org_id, subscription_id, replay_id)
            row = await connection.fetchrow(read, org_id, subscription_id, replay_id)
            if row is None:
                return None
            replay = Replay(**row)
            after: datetime | None = None
            while replay.status == "cancelled":  # a transaction a slice: its host is not locked for long
                after = await connection.fetchval(give_up, replay_id, subscription_id, after, GIVE_UP_AT_ONCE)
                if after is None:
                    break
            return replay

        replay = await self._database.run(unit)
        self._changed()
        return replay


async def feed(database: Database, rate: float, last: Mapping[UUID, UUID]) -> Feeding:
    """Make the next deliveries of each replay that has room, at most `rate` a second for each.

    `last` is what the rounds before returned. Errors: as `Database.run`.
    """
    ready, running = database.sql("ready_replays"), database.sql("replays_run")
    statement = database.sql("feed_replay")

    async def unit(connection: Connection) -> Feeding:
        made = 0
        reached: dict[UUID, UUID] = {}
        for row in await connection.fetch(ready, rate, FEED_AT_ONCE):
            replay_id: UUID = row[0]
            fed = await connection.fetchrow(statement, replay_id, rate, last.get(replay_id))
            if fed is not None and fed["last"] is not None:
                made += fed["fed"]
                reached[replay_id] = fed["last"]
        return Feeding(made, bool(reached) or bool(await connection.fetchval(running)), reached)

    return await database.run(unit)


async def drop_cancelled(database: Database) -> int:
    """Drop a slice of what cancelled replays have not sent; return how many events, 0 at the end."""
    statement = database.sql("drop_replay_events")

    async def unit(connection: Connection) -> int:
        dropped: int = await connection.fetchval(statement, DROP_AT_ONCE)
        return dropped

    return await database.run(unit)
