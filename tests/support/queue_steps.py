"""The steps of the queue, each through the functions of `daemon.store` that a daemon calls for it.

The one place that knows how these are called: tests that drive the queue as a whole say what is to happen,
and get plain values back. `MeddledDatabase` has each step take a millisecond of the test's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from daemon.signing.canonical import Unrepresentable, event_body, parse
from daemon.store import poll, queue, results, routing, upkeep
from daemon.store.attendance import ALONE, attend, leave
from daemon.store.database import Connection
from daemon.store.events import Events, NewEvent
from daemon.store.floors import look_below_floors, meet_cluster
from daemon.store.history import History
from daemon.store.queue import Claim, Claimed, ClaimRequest, TargetRow
from daemon.store.replays import Feeding, Replays, drop_cancelled, feed
from daemon.store.results import Held, Result
from daemon.store.retention import retain, see_clock
from daemon.store.routing import Body, Opened, Round, RoundRequest
from daemon.store.set_back import set_back
from daemon.store.subscriptions import Extras, NewSubscription, Subscription, Subscriptions
from daemon.store.tokens import Tokens, take_tokens
from tests.support.meddled_database import MeddledDatabase
from tests.support.queue_lab import Runs

MAX_DEPTH = 64
DISABLE_AFTER = 600.0
"""Seconds of nothing but failures."""
EVERY = timedelta(weeks=500)

DETERMINED = """
create sequence hookd.test_chance;
create function hookd.test_bits() returns bytea language sql volatile as $$
    select decode(md5(nextval('hookd.test_chance')::text), 'hex')
$$;
create or replace function hookd.uuid7(at timestamptz) returns uuid language sql volatile as $$
    select encode(int8send(((date_part('epoch', at) * 1e6)::bigint / 1000) << 16 | 28672
        | ((date_part('epoch', at) * 1e6)::bigint % 1000) * 4096 / 1000)
        || set_byte(substring(hookd.test_bits() from 9), 0, 128), 'hex')::uuid
$$;
create or replace function hookd.uuid7_random() returns bigint language sql volatile as $$
    select ('x' || encode(substring(hookd.test_bits() from 9), 'hex'))::bit(64)::bigint & 2305843009213693951
$$;
select hookd.break_function('circuit_block', '0.4 * p_random', '0.4 * 0.5');
"""
"""Nothing left to chance: ids whose random part is that of the last run, and no jitter."""

RESET = """
truncate hookd.inbox, hookd.delivery, hookd.lease, hookd.lane, hookd.host, hookd.host_share, hookd.interest,
    hookd.subscription, hookd.subscription_secret, hookd.event_key, hookd.idempotency, hookd.exclusive,
    hookd.replay, hookd.replay_event, hookd.removal, hookd.daemon, hookd.duty, hookd.clock_seen
    restart identity;
delete from hookd.event;
delete from hookd.attempt;
update hookd.inbox_shard set floor = '0', served_at = '-infinity', bulk_orgs = '{{}}', others_next = false,
    passed_xid = '0', passed_org = '{nobody}', passed_id = '{nobody}';
update hookd.test_clock set now = '{now}';
select hookd.make_partitions('{now}'::timestamptz - interval '1 week',
    '{now}'::timestamptz + interval '3 weeks');
alter sequence hookd.test_chance restart with {chance};
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host is held to."""

    rate: float
    burst: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim brought, and where it goes."""

    deliveries: list[Claimed]
    targets: list[TargetRow]
    next_due: float | None


@dataclass(frozen=True, slots=True)
class Routed:
    """What a round did. `taken` is None where nothing was to be claimed."""

    done: Round
    taken: Taken | None


class Daemon:
    """What one daemon does with a database. `limits`: by host, what its configuration says."""

    def __init__(self, database: MeddledDatabase, limits: Mapping[str, Limits]) -> None:
        self.database = database
        self.place = ALONE
        self.events = Events(database)
        self.history = History(database)
        self.replays = Replays(database, changed=lambda: None)
        self.subscriptions = Subscriptions(
            database,
            encrypt=lambda text, _: text.encode(),
            decrypt=lambda sealed, _: sealed.decode(),
            host_limits=limits.__getitem__,
            most=100,
        )
        self._limits = limits

    async def register(
        self, id_: UUID, org_id: UUID, host: str, events: Sequence[str], secret: str, extras: Extras
    ) -> Subscription:
        """Register a subscription at a host's first URL."""
        new = NewSubscription(id_, org_id, f"https://{host}/0", host, events, secret, True, extras)
        return await self.subscriptions.register(new)

    async def start(self) -> None:
        """Do what a start does: floors that hold in this cluster."""

        async def unit(connection: Connection) -> None:
            await meet_cluster(connection, self.database)

        await self.database.run(unit)

    # -- events -------------------------------------------------------------------------------------------

    async def publish(self, events: Sequence[NewEvent], **more: Any) -> list[UUID]:
        """Publish events whose bodies are ready."""
        return await self.events.publish(events, **more)

    async def route(self, request: RoundRequest) -> Routed:
        """Make one round as the router for bulk, or the one for single events, and read what it claimed."""
        database = self.database

        async def unit(connection: Connection) -> Routed:
            done = await routing.next_round(database, connection, request)
            if isinstance(done, Opened):
                bodies = [Body(one, *body_of(one.event_id, one.type, one.data)) for one in done.events]
                done = await routing.write_round(database, connection, done, bodies)
            if done.claimed is None:
                return Routed(done, None)
            return Routed(
                done, await self._with_targets(connection, queue.read_claim(request.claim, done.claimed))
            )

        return await database.run(unit)

    # -- claims and results -------------------------------------------------------------------------------

    async def claim(self, request: ClaimRequest) -> Taken:
        """Claim of any hosts."""

        async def unit(connection: Connection) -> Taken:
            return await self._with_targets(connection, await queue.claim(self.database, connection, request))

        return await self.database.run(unit)

    async def _with_targets(self, connection: Connection, claim: Claim) -> Taken:
        subscriptions = {one.subscription_id for one in claim.deliveries}
        targets = await queue.fetch_targets(self.database, connection, subscriptions) if subscriptions else []
        return Taken(claim.deliveries, targets, claim.next_due)

    async def record(self, batch: Sequence[Result], done: Sequence[UUID]) -> list[bool]:
        """Record results, drop the leases `done`, and tell of each result whether it counted."""

        async def unit(connection: Connection) -> list[bool]:
            written = await results.record(self.database, connection, batch, done, DISABLE_AFTER)
            return written.counted

        return await self.database.run(unit)

    async def leased(self, token: UUID) -> list[Held]:
        """Return what a claim leased whose answer was lost."""
        return await results.leased(self.database, token)

    async def expired(self) -> tuple[list[Held], list[UUID]]:
        """Return what leases past their end hold, and their tokens."""
        return await results.expired(self.database, 20)

    async def body_of(self, one: Claimed) -> str | None:
        """Return the body of a delivery whose claim left it out."""
        return await queue.body_of(self.database, one.subscription_id, one.event_id)

    async def target_of(self, subscription_id: UUID) -> queue.TargetRow | None:
        """Return where a subscription's events go."""
        return await queue.target_of(self.database, subscription_id)

    async def take_tokens(self, org_id: UUID, subscription_id: UUID, count: int) -> Tokens | None:
        """Take of a host's rate for requests that are no deliveries."""
        return await take_tokens(self.database, org_id, subscription_id, count)

    # -- replays ------------------------------------------------------------------------------------------

    async def feed(self, rate: float, last: Mapping[UUID, UUID]) -> Feeding:
        """Make the next deliveries of replays."""
        return await feed(self.database, rate, last)

    async def drop_cancelled(self) -> int:
        """Drop a slice of what cancelled replays have not sent."""
        return await drop_cancelled(self.database)

    # -- life and upkeep ----------------------------------------------------------------------------------

    async def attend(self, daemon_id: UUID) -> None:
        """Say that the daemon lives, and that it is awake; learn its place."""
        self.place = await attend(self.database, daemon_id, 10.0)
        await poll.stay_awake(self.database, 1.0)

    async def leave(self, daemon_id: UUID) -> None:
        """Leave its hosts to others."""
        await leave(self.database, daemon_id)
        self.place = ALONE

    async def poll(self) -> tuple[bool, bool]:
        """Tell whether there is something to route, and whether a claim may find something."""
        found = await poll.poll(self.database)
        return found.inbox, found.due

    async def wake_listeners(self) -> None:
        """Send a hint, as who listens does to prove that they come."""
        await self._rows("notify", f"{self.database.schema}.wake")

    async def _rows(self, name: str, *arguments: object) -> list[Any]:
        statement = self.database.sql(name)

        async def unit(connection: Connection) -> list[Any]:
            return await connection.fetch(statement, *arguments)

        return await self.database.run(unit)

    async def repair(self) -> tuple[int, int]:
        """Look at all hosts; return how many counters had drifted, and how many hosts slept with work."""
        after = drifted = asleep = 0
        while (found := await queue.repair(self.database, after)) is not None:
            after, drifted, asleep = found.last_host, drifted + found.drifted, asleep + found.asleep
        return drifted, asleep

    async def look_below_floors(self) -> int:
        """Return at how many shards an event lay where no router looks."""
        return await look_below_floors(self.database)

    async def purge(self) -> None:
        """Drop what deleted subscriptions left, as far as it goes now."""
        while await upkeep.purge(self.database):
            pass

    async def tidy(self) -> None:
        """Drop what is kept for a while: keys, requests, secrets that stopped signing, idle hosts."""
        await upkeep.forget_keys(self.database)
        await upkeep.forget_secrets(self.database, 3600.0)
        await upkeep.forget_hosts(self.database)

    async def apply_limits(self) -> int:
        """Hold the hosts to what the configuration says now; return how many it changes."""
        return await upkeep.apply_rules(
            self.database,
            types=[],
            max_bytes=1 << 20,
            max_depth=MAX_DEPTH,
            host_limits=self._limits.__getitem__,
        )

    async def retain(self, age: float, now: datetime) -> tuple[int, list[str]]:
        """Drop events older than `age` seconds; return how many deliveries that gave up, and partitions."""
        expired: list[int] = []
        dropped = await retain(
            self.database,
            {"event": age, "attempt": EVERY.total_seconds()},
            now=now,
            expired=expired.append,
        )

        async def ahead(connection: Connection) -> None:
            await upkeep.make_partitions(connection, self.database)

        await self.database.run(ahead)
        return sum(expired), dropped

    async def see_clock(self) -> bool:
        """Look at the clock, and follow it if it was set back; tell whether it was."""
        seen = await see_clock(self.database)
        if seen.set_back_from is None:
            return False
        assert await set_back(self.database, seen.set_back_from)
        return True


def body_of(event_id: UUID, event_type: str, text: str) -> tuple[str | None, str | None]:
    """Return the body of an event from SQL, or why there is none."""
    try:
        return event_body(event_id, event_type, parse(text, max_depth=MAX_DEPTH)), None
    except Unrepresentable as error:
        return None, error.reason


async def reset(session: Runs, now: datetime, chance: int) -> None:
    """Empty the database for another history."""
    await session.execute(RESET.format(now=now.isoformat(), chance=chance, nobody=UUID(int=0)))
