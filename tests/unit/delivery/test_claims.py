"""Claims that follow a round of routing: when the claimer is woken, and what becomes of a lost answer."""

# Covers daemon.delivery.claimer.

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio

from daemon.delivery.attendance import Attendance
from daemon.delivery.capacity import Capacity
from daemon.delivery.claims import HELD_BACK, MAX_WITH_ROUND, Claims
from daemon.delivery.governor import Governor
from daemon.delivery.leases import Leases
from daemon.delivery.senders import Senders
from daemon.metrics import Metrics
from daemon.model import Outcome
from daemon.store.queue import Claimed
from daemon.store.results import Result
from daemon.store.routing import Round


class Statements:
    def sql(self, name: str) -> str:
        return name


class Targets:
    """Knows every target, or none."""

    def __init__(self, knows: bool) -> None:
        self.known = lambda *_: knows

    def learn(self, rows: object) -> None:
        pass


class Connection:
    """Answers statements with `rows`, or fails with `error`."""

    def __init__(self, rows: list[Any] | None = None, error: BaseException | None = None) -> None:
        self.rows = rows or []
        self.error = error
        self.claims = 0
        self.arguments: tuple[object, ...] = ()

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        self.claims += 1
        self.arguments = arguments
        if self.error is not None:
            raise self.error
        return list(self.rows)


def result(token: UUID) -> Result:
    return Claimed(token, uuid4(), uuid4(), 1, uuid4(), "t", 1, 0, 1, "{}", uuid4()).result(Outcome.SUCCEEDED)


class Lock:
    """Stands for the lock of bulk work; `meanwhile` is called while somebody waits for it."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[None]:
        self.meanwhile()
        yield


class Desk:
    """Claims for `count` senders that never answer, the half of them for probes."""

    def __init__(self, count: int = 4, *, knows: bool = True) -> None:
        give, _ = trio.open_memory_channel[Result](10)
        governor = Governor(trio.current_time)
        self.capacity = Capacity(count, max(1, count // 2), governor, trio.current_time)
        self.senders = Senders(
            None,  # type: ignore[arg-type]
            give,
            self.capacity,
            governor,
            poll_sockets=lambda: None,
            now=time.time,
        )
        self.woken = 0
        self.leases = Leases()
        self.lock = Lock()
        self.claims = Claims(
            Statements(),  # type: ignore[arg-type]
            self.lock,  # type: ignore[arg-type]
            self.senders,
            Targets(knows),  # type: ignore[arg-type]
            self.leases,
            lease=lambda: 30.0,
            attendance=Attendance(Statements()),  # type: ignore[arg-type]
            wake=self.wake,
            metrics=Metrics(),
        )

    def wake(self) -> None:
        self.woken += 1

    def wait(self, count: int, *, hosts: int = 1) -> None:
        """Let so many deliveries wait for a sender, for so many hosts in turn."""
        for n in range(count):
            one = Claimed(uuid4(), uuid4(), uuid4(), 1 + n % hosts, uuid4(), "t", 1, 0, 1, "{}", uuid4())
            self.senders.start([(one, False)])

    async def route(
        self,
        rows: list[Any] | None = None,
        *,
        hosts: tuple[int, ...] = (1,),
        in_doubt: bool = False,
        connection: Connection | None = None,
        bulk: bool = False,
    ) -> int:
        """Let a round of routing end that claimed `rows`, nothing if None; return what room it had."""
        with self.claims.with_round(bulk) as reserved:
            done = Round(1, 1, rows is None, hosts, rows, in_doubt)
            await self.claims.take_routed(connection or Connection(), done, reserved)  # type: ignore[arg-type]
        return reserved.request.slots


def left(wait: float | None) -> list[Any]:
    """Rows that say that nothing is due, and when something will be."""
    return [(None, wait, None)]


def taken(host: int = 1) -> list[Any]:
    """Rows that say that one delivery was leased."""
    return [(False, None, uuid4(), uuid4(), host, uuid4(), "t", 1, 0, 1, "{}", uuid4())]


async def test_what_a_round_claimed_is_handed_to_the_senders_and_recorded_apart() -> None:
    desk = Desk()
    await desk.route(taken())
    assert desk.capacity.free_slots == 3
    token = next(iter(desk.leases._single))
    single, bulk = result(token), result(uuid4())
    assert desk.leases.apart([bulk, single]) == ([single], [bulk])
    assert desk.leases.apart([single]) == ([single], [])
    assert desk.leases.settle([single]) == [token]
    assert desk.leases.apart([single, bulk]) == ([], [single, bulk]), "the lease is forgotten"


async def test_what_a_round_claimed_goes_before_what_a_claim_brought_of_other_hosts() -> None:
    desk = Desk(count=100)
    desk.wait(20, hosts=20)
    await desk.route(taken(host=50))
    assert 50 in [desk.senders._waiting.pop().claimed.host_id for _ in range(2)]


async def test_a_round_leaves_half_of_all_room_to_the_claimer() -> None:
    for bulk in (False, True):
        for count, most in ((1, 0), (4, 2), (1000, MAX_WITH_ROUND)):
            desk = Desk(count)
            with desk.claims.with_round(bulk) as reserved:
                assert reserved.request.slots == most
                assert desk.capacity.free_slots >= (count + 1) // 2
                assert not bulk or desk.capacity.free_probes >= count // 4


async def test_a_claim_takes_what_room_there_is_when_it_may_begin() -> None:
    desk, connection = Desk(count=4), Connection(left(None))
    desk.lock.meanwhile = lambda: desk.wait(2)
    await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert connection.arguments[2] == 2


async def test_a_round_whose_claim_took_all_wakes_nobody() -> None:
    desk = Desk()
    await desk.route(left(None))
    assert desk.woken == 0


@pytest.mark.parametrize("wait, woken", [(5.0, 1), (50.0, 0)])
async def test_the_claimer_is_woken_only_for_what_comes_before_its_next_look(wait: float, woken: int) -> None:
    desk = Desk()
    desk.claims.next_look = trio.current_time() + 20
    await desk.route(left(wait))
    assert desk.woken == woken


async def test_a_claimer_at_work_hears_of_whatever_is_due() -> None:
    desk = Desk()
    await desk.route(left(1000.0))
    assert desk.woken == 1


async def test_a_full_claim_leaves_the_rest_to_the_claimer() -> None:
    desk = Desk()
    await desk.route(taken())
    assert desk.woken == 1


async def test_what_was_not_claimed_with_its_round_is_left_to_the_claimer() -> None:
    desk = Desk()
    await desk.route(None)
    assert desk.woken == 1
    await desk.route(None, hosts=())
    assert desk.woken == 1, "nobody wanted it"


async def test_without_room_nothing_is_asked_for() -> None:
    desk = Desk()
    desk.wait(4)
    assert await desk.route(None) == 0


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.PostgresError(),  # a statement before the one that was refused may have been committed
    ],
)
async def test_what_a_round_without_an_answer_may_have_leased_is_remembered(error: Exception) -> None:
    desk = Desk()
    with pytest.raises(type(error)), desk.claims.with_round(False):
        raise error
    assert len(desk.claims.in_doubt) == 2
    assert desk.capacity.free_slots == 4, "the room of the claim is free again"


@pytest.mark.parametrize("error", [ConnectionResetError(), asyncpg.PostgresError()])
async def test_what_a_claim_without_an_answer_may_have_leased_is_remembered(error: Exception) -> None:
    desk = Desk()
    with pytest.raises(type(error)):
        await desk.claims.claim(Connection(error=error))  # type: ignore[arg-type]
    assert len(desk.claims.in_doubt) == 2


async def test_the_claimer_looks_again_if_a_router_had_all_the_room_for_probes() -> None:
    desk = Desk(4)
    with desk.capacity.reserve(1, 2):
        claim = await desk.claims.claim(Connection(left(None)))  # type: ignore[arg-type]
        assert claim.next_due == 0.0
    claim = await desk.claims.claim(Connection(left(None)))  # type: ignore[arg-type]
    assert claim.next_due is None


async def test_what_was_leased_is_given_back_if_its_targets_cannot_be_had() -> None:
    desk = Desk(knows=False)
    with pytest.raises(asyncpg.PostgresError):
        await desk.route(taken(), connection=Connection(error=asyncpg.PostgresError()))
    assert len(desk.claims.in_doubt) == 2
    with pytest.raises(asyncpg.PostgresError):
        await desk.claims.claim(_FailsAfter(taken()))  # type: ignore[arg-type]
    assert len(desk.claims.in_doubt) == 4


class _FailsAfter(Connection):
    """Fails at the statement after the first one."""

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        found = await super().fetch(statement, *arguments)
        self.error = asyncpg.PostgresError()
        return found


async def test_a_claim_that_may_have_been_committed_unheard_is_given_back() -> None:
    desk = Desk()
    await desk.route(None, hosts=(), in_doubt=True)
    assert (len(desk.claims.in_doubt), desk.woken) == (2, 1)


async def test_beside_another_claim_the_claimer_looks_again() -> None:
    """That one may hold all the room for probes, and have looked before the event was routed."""
    desk = Desk()
    with desk.capacity.reserve(1, 2):
        await desk.route(left(None))
    assert desk.woken == 1
    await desk.route(left(None))
    assert desk.woken == 1


async def test_a_claim_takes_no_more_than_there_is_room_for_by_then() -> None:
    desk, connection = Desk(), Connection()
    desk.wait(4)
    claim = await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert (claim.deliveries, connection.claims) == ([], 0)


async def test_organisations_that_have_their_share_get_nothing_and_are_looked_for_seldom() -> None:
    org = uuid4()
    desk = Desk(8)
    desk.senders.start(
        (Claimed(uuid4(), uuid4(), uuid4(), 1, uuid4(), "t", 1, 0, 1, "{}", org), False) for _ in range(6)
    )
    connection = Connection(left(0.0))
    claimed = await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert (org,) in connection.arguments
    assert claimed.next_due == HELD_BACK
