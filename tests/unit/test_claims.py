"""Claims that follow a round of routing: when the claimer is woken, and what becomes of a lost answer."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import trio
from trio.testing import MockClock

from daemon.delivery.claims import BESIDE_SLICES, LATELY, PATIENCE, Claims
from daemon.delivery.recorder import Leases
from daemon.delivery.senders import CLAIM_THEN, Senders
from daemon.metrics import Metrics
from daemon.store.queue import Claimed, Result
from daemon.store.routing import Round


class Statements:
    def sql(self, name: str) -> str:
        return name


class Targets:
    """Knows every target."""

    def known(self, *_: object) -> bool:
        return True

    def learn(self, rows: object) -> None:
        pass


class Connection:
    """Answers a claim with `rows`, or fails with `error`."""

    def __init__(self, rows: list[Any] | None = None, error: BaseException | None = None) -> None:
        self.rows = rows or []
        self.error = error
        self.claims = 0
        self.room: object = None
        self.among: object = None

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        self.claims += 1
        _, _, self.room, _, _, self.among = arguments
        if self.error is not None:
            raise self.error
        return list(self.rows)


class Desk:
    """Claims for `count` senders that never answer."""

    def __init__(self, count: int = 4) -> None:
        give, _ = trio.open_memory_channel[Result](10)
        self.senders = Senders(None, give, count=count, share=0.5)  # type: ignore[arg-type]
        self.rung = 0
        self.claims = Claims(
            Statements(),  # type: ignore[arg-type]
            senders=self.senders,
            targets=Targets(),  # type: ignore[arg-type]
            leases=Leases(),
            lease=lambda: 30.0,
            claimable=self.ring,
            metrics=Metrics(),
        )

    def ring(self) -> None:
        self.rung += 1

    def wait(self, count: int) -> None:
        """Let so many deliveries wait for a sender."""
        one = Claimed(uuid4(), uuid4(), uuid4(), 1, uuid4(), "t", 1, 0, 1, "{}")
        self.senders.start((one, False) for _ in range(count))

    async def follow(
        self,
        connection: Connection,
        *,
        cut: bool = False,
        hosts: tuple[int, ...] = (1,),
        slices: bool = False,
    ) -> None:
        await self.claims.follow(connection, Round(1, cut, hosts, slices))  # type: ignore[arg-type]


def left(wait: float | None) -> Connection:
    """Answer that nothing is due, and when something will be."""
    return Connection([{"delivery_id": None, "wait": wait}])


class Row(tuple[Any, ...]):
    """A row of a claim."""

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(2 if key == "delivery_id" else key)


def taken() -> Connection:
    """Answer that one delivery was leased."""
    return Connection([Row((False, None, uuid4(), uuid4(), 1, uuid4(), "t", 1, 0, 1, "{}"))])


async def test_the_router_claims_among_the_hosts_that_it_routed_to() -> None:
    desk, connection = Desk(), left(None)
    await desk.follow(connection, hosts=(3, 5))
    assert connection.among == (3, 5)


async def test_what_the_router_claims_does_not_starve_who_waits_longer(autojump_clock: MockClock) -> None:
    desk = Desk(count=100)
    await desk.follow(taken())
    assert not desk.claims.others_wait()
    await trio.sleep(2 * PATIENCE)
    assert desk.claims.others_wait()
    router, claimer = taken(), left(None)
    await desk.follow(router)
    assert router.room == CLAIM_THEN // 2, "the claimer has the rest"
    await desk.claims.claim(claimer, 10)  # type: ignore[arg-type]
    assert claimer.among is None
    assert not desk.claims.others_wait()


async def test_the_claimer_gives_way_to_the_slices_of_a_fan_out_for_a_while_at_a_time(
    autojump_clock: MockClock,
) -> None:
    desk, connection = Desk(), left(None)
    await desk.follow(connection, cut=True, slices=True)
    assert not desk.claims.gives_way(), "it has not claimed for long"
    await desk.claims.claim(connection, 4)  # type: ignore[arg-type]
    assert desk.claims.gives_way()
    await desk.follow(connection, slices=True)
    assert desk.claims.gives_way(), "what follows a round of another's is not its claim"
    await trio.sleep(BESIDE_SLICES + 0.01)
    assert not desk.claims.gives_way()


async def test_the_claimer_gives_way_no_more_once_the_slices_end(autojump_clock: MockClock) -> None:
    desk, connection = Desk(), left(None)
    await desk.claims.claim(connection, 4)  # type: ignore[arg-type]
    assert not desk.claims.gives_way()
    await desk.follow(connection, cut=True, slices=True)
    assert desk.claims.gives_way()
    await desk.follow(connection, cut=True)
    assert not desk.claims.gives_way()
    await desk.follow(connection, cut=True, slices=True)
    await trio.sleep(LATELY + 0.01)  # the router has come to a halt
    await desk.claims.claim(connection, 4)  # type: ignore[arg-type]
    assert not desk.claims.gives_way()


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
    await desk.follow(Connection())
    assert desk.rung == 1


async def test_a_part_of_much_is_left_to_the_claimer() -> None:
    desk, connection = Desk(), left(None)
    await desk.follow(connection, cut=True)
    assert (connection.claims, desk.rung) == (0, 1)
    await desk.follow(connection)
    assert (connection.claims, desk.rung) == (1, 1)


async def test_where_the_router_knows_of_no_host_the_claimer_looks() -> None:
    """A round that was committed unheard may have made deliveries."""
    desk, connection = Desk(), left(None)
    await desk.follow(connection, hosts=())
    assert (connection.claims, desk.rung) == (0, 1)


async def test_without_room_nothing_is_claimed() -> None:
    desk, connection = Desk(), left(None)
    desk.wait(4)
    await desk.follow(connection)
    assert (connection.claims, desk.rung) == (0, 1)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), TimeoutError(), asyncpg.ConnectionDoesNotExistError()]
)
async def test_what_a_lost_answer_may_have_leased_is_remembered_for_the_claimer(error: Exception) -> None:
    desk = Desk()
    with pytest.raises(type(error)):
        await desk.follow(Connection(error=error))
    assert len(desk.claims.lost) == 2
    assert desk.senders.room() == 4, "the room of the claim is free again"


async def test_what_postgres_refuses_is_left_to_the_claimer() -> None:
    desk = Desk()
    await desk.follow(Connection(error=asyncpg.PostgresError()))
    assert (desk.rung, desk.claims.lost) == (1, [])


async def test_beside_another_claim_the_claimer_looks_again() -> None:
    """That one may hold all the room for probes, and have looked before the event was routed."""
    desk = Desk()
    with desk.senders.promised(1, 2):
        await desk.follow(left(None))
    assert desk.rung == 1


async def test_a_claim_takes_no_more_than_there_is_room_for_by_then() -> None:
    desk, connection = Desk(), Connection()
    desk.wait(4)
    claim = await desk.claims.claim(connection, 4)  # type: ignore[arg-type]
    assert (claim.deliveries, connection.claims) == ([], 0)
