"""Claims that follow a round of routing: when the claimer is woken, and what becomes of a lost answer."""

# Covers daemon.delivery.claimer.

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import trio
from trio.testing import MockClock

from daemon.delivery.claims import BESIDE_CROWD, BESIDE_SLICES, HELD_BACK, LATELY, PATIENCE, Claims
from daemon.delivery.leases import Leases
from daemon.delivery.senders import CLAIM_THEN, Senders
from daemon.metrics import Metrics
from daemon.model import Outcome
from daemon.store.precedence import Precedence
from daemon.store.queue import Claimed, Place
from daemon.store.results import Result
from daemon.store.routing import Round
from daemon.store.turn import TakeTurn


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


class Desk:
    """Claims for `count` senders that never answer."""

    def __init__(self, count: int = 4, *, knows: bool = True, turn: TakeTurn = nullcontext) -> None:
        give, _ = trio.open_memory_channel[Result](10)
        self.senders = Senders(
            None,  # type: ignore[arg-type]
            give,
            count=count,
            share=0.5,
            poll_sockets=lambda: None,
            precedence=Precedence(),
            now=time.time,
        )
        self.rung = 0
        self.leases = Leases()
        self.claims = Claims(
            Statements(),  # type: ignore[arg-type]
            turn=turn,
            senders=self.senders,
            targets=Targets(knows),  # type: ignore[arg-type]
            leases=self.leases,
            lease=lambda: 30.0,
            place=Place,
            claimable=self.ring,
            metrics=Metrics(),
        )

    def ring(self) -> None:
        self.rung += 1

    def wait(self, count: int, *, hosts: int = 1) -> None:
        """Let so many deliveries wait for a sender, for so many hosts in turn."""
        for n in range(count):
            one = Claimed(uuid4(), uuid4(), uuid4(), 1 + n % hosts, uuid4(), "t", 1, 0, 1, "{}", uuid4())
            self.senders.start([(one, False)])

    async def follow(
        self,
        rows: list[Any] | None = None,
        *,
        cut: bool = False,
        slices: bool = False,
        unheard: bool = False,
        connection: Connection | None = None,
        crowds: bool = False,
    ) -> int:
        """Let a round of routing end that claimed `rows`, nothing if None; return what room it had."""
        with self.claims.asking(crowds) as asked:
            done = Round(1, 1, cut, (1,), slices, claimed=rows, unheard=unheard)
            await self.claims.follow(connection or Connection(), done, asked)  # type: ignore[arg-type]
        return asked.room


def left(wait: float | None) -> list[Any]:
    """Rows that say that nothing is due, and when something will be."""
    return [(None, wait, None)]


def taken(host: int = 1) -> list[Any]:
    """Rows that say that one delivery was leased."""
    return [(False, None, uuid4(), uuid4(), host, uuid4(), "t", 1, 0, 1, "{}", uuid4())]


async def test_what_a_round_claimed_is_handed_to_the_senders_and_recorded_apart() -> None:
    desk = Desk()
    await desk.follow(taken())
    assert desk.senders.room() == 3
    token = next(iter(desk.leases._lone))
    lone, bulk = result(token), result(uuid4())
    assert desk.leases.apart([bulk, lone]) == ([lone], [bulk])
    assert desk.leases.apart([lone]) == ([lone], [])
    assert desk.leases.settle([lone]) == [token]
    assert desk.leases.apart([lone, bulk]) == ([], [lone, bulk]), "the lease is forgotten"


async def test_what_a_round_claimed_goes_before_what_a_claim_brought_of_other_hosts() -> None:
    desk = Desk(count=100)
    desk.wait(20, hosts=20)
    await desk.follow(taken(host=50))
    assert 50 in [desk.senders._waiting.pop()[0].host_id for _ in range(2)]


async def test_what_the_router_claims_does_not_starve_who_waits_longer(autojump_clock: MockClock) -> None:
    desk = Desk(count=100)
    await desk.follow(taken())
    assert not desk.claims.others_wait()
    await trio.sleep(2 * PATIENCE)
    assert desk.claims.others_wait()
    assert await desk.follow(taken()) == CLAIM_THEN // 2, "the claimer has the rest"
    await desk.claims.claim(Connection(left(None)))  # type: ignore[arg-type]
    assert not desk.claims.others_wait()


async def test_the_claimer_gives_way_to_the_slices_of_a_fan_out_for_a_while_at_a_time(
    autojump_clock: MockClock,
) -> None:
    desk, connection = Desk(), Connection(left(None))
    await desk.follow(cut=True, slices=True)
    assert not desk.claims.gives_way(), "it has not claimed for long"
    await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert desk.claims.gives_way()
    await desk.follow(left(None), slices=True)
    assert desk.claims.gives_way(), "what follows a round of another's is not its claim"
    await trio.sleep(BESIDE_SLICES + 0.01)
    assert not desk.claims.gives_way()


async def test_the_claimer_gives_way_no_more_once_the_slices_end(autojump_clock: MockClock) -> None:
    desk, connection = Desk(), Connection(left(None))
    await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert not desk.claims.gives_way()
    await desk.follow(cut=True, slices=True)
    assert desk.claims.gives_way()
    await desk.follow(cut=True)
    assert not desk.claims.gives_way()
    await desk.follow(cut=True, slices=True)
    await trio.sleep(LATELY + 0.01)  # the router has come to a halt
    await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert not desk.claims.gives_way()


async def test_a_claim_takes_what_room_there_is_when_its_turn_comes() -> None:
    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        desk.wait(2)
        yield

    desk, connection = Desk(count=4, turn=turn), Connection(left(None))
    await desk.claims.claim(connection)  # type: ignore[arg-type]
    assert connection.arguments[2] == 2


async def test_a_claim_that_took_all_wakes_nobody() -> None:
    desk = Desk()
    await desk.follow(left(None))
    assert desk.rung == 0


@pytest.mark.parametrize("wait, rung", [(5.0, 1), (50.0, 0)])
async def test_the_claimer_is_woken_only_for_what_comes_before_its_next_look(wait: float, rung: int) -> None:
    desk = Desk()
    desk.claims.next_look = trio.current_time() + 20
    await desk.follow(left(wait))
    assert desk.rung == rung


async def test_a_claimer_at_work_hears_of_whatever_is_due() -> None:
    desk = Desk()
    await desk.follow(left(1000.0))
    assert desk.rung == 1


async def test_a_full_claim_leaves_the_rest_to_the_claimer() -> None:
    desk = Desk()
    await desk.follow(taken())
    assert desk.rung == 1


async def test_what_was_not_claimed_with_its_round_is_left_to_the_claimer() -> None:
    desk = Desk()
    await desk.follow(None, cut=True)
    assert desk.rung == 1


async def test_without_room_nothing_is_asked_for() -> None:
    desk = Desk()
    desk.wait(4)
    assert await desk.follow(None) == 0


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), asyncpg.ConnectionDoesNotExistError()]
)
async def test_what_a_lost_answer_may_have_leased_is_remembered_for_the_claimer(error: Exception) -> None:
    desk = Desk()
    with pytest.raises(type(error)), desk.claims.asking(False):
        raise error
    assert len(desk.claims.lost) == 2
    assert desk.senders.room() == 4, "the room of the claim is free again"


async def test_what_postgres_refuses_the_claimer_was_not_leased() -> None:
    desk = Desk()
    with pytest.raises(asyncpg.PostgresError):
        await desk.claims.claim(Connection(error=asyncpg.PostgresError()))  # type: ignore[arg-type]
    assert desk.claims.lost == []


async def test_where_a_round_is_refused_a_statement_before_may_have_leased() -> None:
    desk = Desk()
    with pytest.raises(asyncpg.PostgresError), desk.claims.asking(False):
        raise asyncpg.PostgresError
    assert len(desk.claims.lost) == 2


async def test_a_router_of_crowds_never_keeps_all_room_from_the_claimer() -> None:
    for count, most in ((1, 0), (4, 2), (100, BESIDE_CROWD)):
        desk = Desk(count)
        with desk.claims.asking(True) as asked:
            assert (asked.room, asked.probe_room <= count // 4) == (most, True)
            assert desk.senders.room() >= (count + 1) // 2


async def test_the_claimer_looks_again_if_a_router_had_all_the_room_for_probes() -> None:
    desk = Desk(4)
    with desk.senders.promised(1, 2):
        claim = await desk.claims.claim(Connection(left(None)))  # type: ignore[arg-type]
        assert claim.next_due == 0.0
    claim = await desk.claims.claim(Connection(left(None)))  # type: ignore[arg-type]
    assert claim.next_due is None


async def test_what_was_leased_is_given_back_if_its_targets_cannot_be_had() -> None:
    desk = Desk(knows=False)
    with pytest.raises(asyncpg.PostgresError):
        await desk.follow(taken(), connection=Connection(error=asyncpg.PostgresError()))
    assert len(desk.claims.lost) == 2


async def test_a_claim_that_may_have_been_committed_unheard_is_given_back() -> None:
    desk = Desk()
    await desk.follow(None, unheard=True)
    assert (len(desk.claims.lost), desk.rung) == (2, 1)


async def test_beside_another_claim_the_claimer_looks_again() -> None:
    """That one may hold all the room for probes, and have looked before the event was routed."""
    desk = Desk()
    with desk.senders.promised(1, 2):
        await desk.follow(left(None))
    assert desk.rung == 1
    await desk.follow(left(None))
    assert desk.rung == 1


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
