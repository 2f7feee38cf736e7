"""What the rules of the queue's machine share: the stage that they play on, the model, and looking."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import trio
import trio_asyncio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from daemon.store.database import Connection, open_database
from daemon.store.queue import ClaimRequest, Shares
from daemon.store.routing import RoundRequest
from tests.support.meddled_database import Clock, MeddledDatabase, Meddling, Pause
from tests.support.postgres import Session, connect_session
from tests.support.queue_lab import BREAK_FUNCTION, NOON, advance, prepare
from tests.support.queue_model import Delivery, Lease, Model, Subscription
from tests.support.queue_steps import DETERMINED, Daemon, Limits, Routed, Taken, reset
from tests.support.queue_tables import (
    OBSERVED_DELIVERIES,
    OBSERVED_HOSTS,
    OBSERVED_LANES,
    OBSERVED_SHARES,
    check_tables,
)

T = TypeVar("T")

SEEDS = st.integers(0, 2**32 - 1)
"""What the database gives is not known beforehand, so a history has only the seed of a choice among it."""
WHO = st.sampled_from([0, 1])
ORGS = [UUID(int=number << 64 | number) for number in (1, 2, 3)]
HOSTS = ["a:443", "b:443", "c:443"]
TYPES = ["placement.created", "placement.updated", "match.proposed"]
LIMITS = [
    Limits(1e6, 1e6, 1000),
    Limits(0.5, 1.0, 2),
    Limits(5.0, 3.0, 1000),
    Limits(1000.0, 10.0, 1),
    Limits(2.0, 2.0, 3),
]
STEP_TIME = 60.0
"""Seconds after which a step hangs."""
NO_SHARES = Shares()
NEVER = """
select id, event_id, subscription_id, ended from hookd.attempt
where ended in ('unrepresentable', 'filter_failed')
"""
"""What routing ended without having owed it."""


@dataclass
class Round:
    """A round of routing that is under way. `done` is set with `routed`, or with `failure`."""

    request: RoundRequest
    pause: Pause
    scope: trio.CancelScope
    done: trio.Event
    routed: Routed | None = None
    failure: Exception | None = None


@dataclass
class Stage:
    """A database with the sessions of two daemons, of a publisher, and of whoever looks on."""

    daemons: list[Daemon]
    limits: dict[str, Limits]
    session: Session
    publisher: Session
    clock: Clock
    driven: Counter[str]
    nursery: trio.Nursery
    failure: BaseException | None = None
    """The first thing that was found wrong."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Stage]:
    """Open a stage on a test's database."""
    limits = dict.fromkeys(HOSTS, LIMITS[0])
    clock = Clock(NOON)
    driven = Counter[str]()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(trio_asyncio.open_loop())
        nursery = await stack.enter_async_context(trio.open_nursery())
        session = await stack.enter_async_context(connect_session(url))
        publisher = await stack.enter_async_context(connect_session(url))
        await prepare(session)
        await session.execute(BREAK_FUNCTION + DETERMINED)
        daemons = []
        for _ in range(2):
            database = await stack.enter_async_context(open_database(url, pool_size=2))
            daemons.append(Daemon(MeddledDatabase(database, clock, driven), limits))
        await daemons[0].start()
        yield Stage(daemons, limits, session, publisher, clock, driven, nursery)
        nursery.cancel_scope.cancel()


class Machine(RuleBasedStateMachine):
    """One history. It runs in a thread of its own, and each step in Trio."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.begun = False
        self.number = 0
        self.chance = Random(0)
        self.ids: list[UUID] = []
        self.rounds: dict[int, Round] = {}
        self.pending: list[Any] = []
        self.keys: dict[tuple[UUID, str], tuple[UUID, Any]] = {}
        self.requests: dict[tuple[UUID, str], tuple[list[UUID], datetime]] = {}
        self.fed_to: list[dict[UUID, UUID]] = [{}, {}]
        self.never: set[UUID] = set()
        self.attempts: set[UUID] = set()

    @initialize(chance=SEEDS)
    def begin(self, chance: int) -> None:
        self.chance = Random(chance)
        self.stage.limits.update(dict.fromkeys(HOSTS, LIMITS[0]))
        trio.from_thread.run(reset, self.stage.session, NOON, 1 + chance)
        self.stage.clock.now = NOON
        self.ids = [self.random_id() for _ in self.stage.daemons]
        for _ in range(2):  # the first does not know of the second before that has come
            for daemon, id_ in zip(self.stage.daemons, self.ids, strict=True):
                self.do(daemon.attend, id_)
        self.set_scene(self.chance)
        self.begun = True

    def set_scene(self, chance: Random) -> None:
        """Make what a history begins with."""

    # -- doing and looking --------------------------------------------------------------------------------

    def do(self, function: Callable[..., Awaitable[T]], *arguments: Any, **more: Any) -> T:
        """Call an async function."""

        async def in_time() -> T:
            with trio.fail_after(STEP_TIME):
                return await function(*arguments, **more)

        result: T = trio.from_thread.run(in_time)
        return result

    @property
    def now(self) -> datetime:
        """The time of the database."""
        return self.stage.clock.now

    def move_clock(self, seconds: float) -> None:
        """Let time pass at once, or be set back."""
        self.stage.clock.now = self.do(advance, self.stage.session, seconds)

    def fetch(self, statement: str, *arguments: object) -> list[Any]:
        """Return the rows of a statement."""
        return trio.from_thread.run(self.stage.session.fetch, statement, *arguments)

    def fetchval(self, statement: str, *arguments: object) -> Any:
        """Return the first value of a statement."""
        return trio.from_thread.run(self.stage.session.fetchval, statement, *arguments)

    def random_id(self) -> UUID:
        """Return an id that is the same when the history is played again."""
        return UUID(int=self.chance.getrandbits(128))

    def daemon(self, who: int, meddling: Meddling | None = None) -> Daemon:
        """Return a daemon, to whose next step something happens."""
        daemon = self.stage.daemons[who]
        daemon.database.meddling = meddling or Meddling()
        return daemon

    def claim_request(
        self,
        who: int,
        room: int,
        probe_room: int,
        lease: float = 60.0,
        *,
        shares: Shares = NO_SHARES,
    ) -> ClaimRequest:
        """Return a daemon's request for leases."""
        tokens = (self.random_id(), self.random_id())
        place = self.stage.daemons[who].place
        return ClaimRequest(tokens, room, min(room, probe_room), lease, place, shares, shares)

    def pick(self, seed: int) -> Subscription | None:
        """Return one of the subscriptions, if there are any."""
        return self.one_of(seed, list(self.model.subscriptions.values()))

    def one_of(self, seed: int, among: list[T]) -> T | None:
        """Return one of `among`, which is in an order of its own, if it has any."""
        return Random(seed).choice(among) if among else None

    def new_deliveries(self) -> list[Delivery]:
        """Note the deliveries that the last step made, and return them."""
        return self.model.made(self.fetch(OBSERVED_DELIVERIES + " order by d.id"))

    def new_attempts(self) -> list[Any]:
        """Return what the last step wrote into the history."""
        rows = self.fetch("select * from hookd.attempt order by id")
        new = [row for row in rows if row["id"] not in self.attempts]
        self.attempts.update(row["id"] for row in new)
        return new

    def leases_of(self, who: int) -> list[Lease]:
        """Return the leases that a daemon still knows of."""
        return [lease for lease in self.model.leases.values() if lease.daemon == who]

    # -- what other rules do about claims -----------------------------------------------------------------

    def take_claim(self, who: int, request: ClaimRequest, claim: Taken, *, lone: bool) -> None:
        """Take over what a claim brought."""
        raise NotImplementedError

    def give_back(self, who: int, request: ClaimRequest) -> None:
        """Ask what a claim leased whose answer was lost."""
        raise NotImplementedError

    # -- what must always be true -------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_or_asleep(self) -> None:
        deliveries, hosts, lanes, shares = trio.from_thread.run(self.stage.session.run, look)
        self.model.observed(deliveries)
        check_tables(hosts, lanes, shares, self.now)
        assert {lane["subscription_id"] for lane in lanes} == set(self.model.subscriptions)
        for lane in lanes:
            one = self.model.subscriptions[lane["subscription_id"]]
            assert lane["active"] == one.active
            assert lane["host_id"] == one.host
            assert lane["failure_count"] == one.failure_count
            assert lane["failing_since"] == one.failing_since


async def look(connection: Connection) -> list[list[Any]]:
    """Return what stands in the tables: deliveries, hosts, lanes and shares."""
    statements = (OBSERVED_DELIVERIES, OBSERVED_HOSTS, OBSERVED_LANES, OBSERVED_SHARES)
    return [await connection.fetch(statement) for statement in statements]
