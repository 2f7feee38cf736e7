"""Several daemons on one queue: each prefers hosts of its own, and none of a dead one's waits long."""

# Covers daemon.delivery.attendance.

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from daemon.store.attendance import Place
from daemon.store.queue import ClaimRequest, Shares
from daemon.store.routing import READY_WIDTH
from tests.support.postgres import Session
from tests.support.queue_lab import (
    STATEMENTS,
    advance,
    prepare,
    prove,
    publish_ready,
    register,
    register_many,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]
FIRST, SECOND = Place(0, 2), Place(1, 2)
PATIENCE = 0.1


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def claim(
    session: Session, place: Place, room: int = 500, **more: Shares
) -> tuple[set[int], float | None]:
    """Claim for a daemon; return the hosts that it came to, and in how many seconds it is to look again."""
    asked = ClaimRequest((uuid4(), uuid4()), room, room, 60.0, place, **more)
    rows = await session.fetch(STATEMENTS["claim_both"], *asked.arguments)
    wait = rows.pop()["wait"] if rows and rows[-1]["delivery_id"] is None else 0.0
    return {row["host_id"] for row in rows}, wait


async def owed_at(session: Session, hosts: int, each: int = 3) -> UUID:
    """Register a proven lane of one organisation at each of so many hosts, and let it be owed something."""
    org = uuid4()
    await register_many(session, org, hosts, hosts=hosts)
    await publish_ready(session, org, each)
    await route_all(session)
    return org


async def test_each_takes_its_part_of_the_hosts(session: Session) -> None:
    await owed_at(session, 6)
    assert (await claim(session, FIRST))[0] == {2, 4, 6}
    assert (await claim(session, SECOND))[0] == {1, 3, 5}
    assert await claim(session, FIRST) == (set(), None)


async def test_one_that_is_alone_takes_all(session: Session) -> None:
    await owed_at(session, 6)
    assert (await claim(session, Place()))[0] == {1, 2, 3, 4, 5, 6}


async def test_what_a_dead_daemon_leaves_goes_to_the_others_after_a_moment(session: Session) -> None:
    await owed_at(session, 2)
    hosts, wait = await claim(session, FIRST)
    assert hosts == {2}
    assert wait == pytest.approx(PATIENCE, abs=0.001)
    await advance(session, PATIENCE)
    assert (await claim(session, FIRST))[0] == {1}


async def test_hosts_of_a_daemon_that_comes_to_them_are_left_to_it(session: Session) -> None:
    """Though lanes there have waited for their turn for longer."""
    org = uuid4()
    await register_many(session, org, 50, hosts=1)
    await publish_ready(session, org, 3)
    await route_all(session)
    for _ in range(5):
        await advance(session, PATIENCE * 0.9)
        assert await claim(session, SECOND, room=8) == ({1}, 0.0)
        hosts, wait = await claim(session, FIRST)
        assert hosts == set()
        assert wait == pytest.approx(PATIENCE)
    await advance(session, PATIENCE)
    assert (await claim(session, FIRST))[0] == {1}, "it has no room, or is gone"


async def test_whoever_came_goes_on_until_the_one_comes_whose_it_is(session: Session) -> None:
    """A lane that sends one after the other does not wait before each."""
    org = uuid4()
    await register(session, org, host="h1", ordered=True)
    await publish_ready(session, org, 4)
    await route_all(session)
    await advance(session, PATIENCE)
    for place in (FIRST, FIRST, SECOND):
        hosts, _ = await claim(session, place)
        assert hosts == {1}
        (token,) = await session.fetch("select token from hookd.lease")
        held = await session.fetch(STATEMENTS["leased"], token[0])
        assert len(held) == 1
        await session.execute("update hookd.delivery set lease = null, host_id = null")
        await session.execute("delete from hookd.delivery where id = $1", held[0]["delivery_id"])
        await session.execute("delete from hookd.lease")
        await session.execute("select hookd.repair(0, 10)")
    assert (await claim(session, FIRST))[0] == set()


async def follow(session: Session, org: UUID, place: Place) -> int:
    """Publish an event and route it for a daemon; return how much of it that claimed at once."""
    await publish_ready(session, org)
    asked = ClaimRequest((uuid4(), uuid4()), 40, 8, 60.0, place)
    rows = await session.fetch(
        STATEMENTS["route_ready"], 50, 8, 50, timedelta(seconds=1), None, *asked.arguments
    )
    return sum(row[READY_WIDTH + 2] is not None for row in rows)


async def test_whoever_routes_an_event_sends_it_unless_its_host_has_much_and_its_daemon(
    session: Session,
) -> None:
    org = await owed_at(session, 1, each=0)
    assert await follow(session, org, FIRST) == 1
    assert await follow(session, org, SECOND) == 1
    await advance(session, 0.01)
    await publish_ready(session, org, 20)
    await route_all(session)
    await claim(session, SECOND, room=5)
    await advance(session, 0.01)
    assert await follow(session, org, FIRST) == 0, "the other daemon is at it"
    await advance(session, PATIENCE)
    assert await follow(session, org, FIRST) > 0, "the other daemon has gone"


async def test_places_are_those_of_the_daemons_that_live(session: Session) -> None:
    daemons = sorted(uuid4() for _ in range(3))

    async def attend(number: int) -> Place:
        [row] = await session.fetch(STATEMENTS["attend"], daemons[number], timedelta(seconds=15))
        return Place(*row)

    assert await attend(1) == Place(0, 1)
    assert await attend(0) == Place(0, 2)
    assert await attend(1) == Place(1, 2)
    await advance(session, 10)
    assert await attend(2) == Place(2, 3)
    await advance(session, 10)
    assert await attend(2) == Place(0, 1), "the others were silent"
    assert await attend(0) == Place(0, 2)
    await session.execute(STATEMENTS["leave"], daemons[0])
    assert await attend(2) == Place(0, 1)
    await advance(session, -3600)
    assert await attend(0) == Place(0, 1), "what the clock said before it was set back does not count"
    assert await session.fetchval("select count(*) from hookd.daemon") == 1


async def test_organisations_that_have_their_share_of_a_daemons_senders_get_nothing(session: Session) -> None:
    """One with many hosts of its own, beside one at a host of its own and one at a shared host."""
    many = await owed_at(session, 20)
    other = uuid4()
    await register(session, other, host="other")
    await register(session, other, host="h1")
    await prove(session)
    await publish_ready(session, other)
    await route_all(session)
    full = Shares((many,))
    hosts, wait = await claim(session, Place(), shares=full, probe_shares=full)
    assert hosts == {1, 21}
    assert wait is not None and wait <= 0, "some are left at the shared host"
    await session.execute(
        "delete from hookd.delivery where subscription_id in"
        " (select l.subscription_id from hookd.lane l where l.host_id = 1)"
    )
    await session.execute("select hookd.repair(0, 100)")
    assert await claim(session, Place(), shares=full, probe_shares=full) == (set(), None)
    assert len((await claim(session, Place()))[0]) == 19


async def test_no_organisation_gets_more_in_one_claim_than_its_share(session: Session) -> None:
    await owed_at(session, 20)
    other = uuid4()
    for host in ("other", "another"):
        await register(session, other, host=host)
    await prove(session)
    await publish_ready(session, other, 50)
    await route_all(session)
    asked = ClaimRequest((uuid4(), uuid4()), 400, 0, 60.0, shares=Shares((), 12))
    rows = await session.fetch(STATEMENTS["claim_both"], *asked.arguments)
    orgs = [row["org_id"] for row in rows if row["delivery_id"] is not None]
    assert len(orgs) == 24 and orgs.count(other) == 12
    assert tuple(await session.fetchrow("select drifted, asleep from hookd.repair(0, 100)") or ()) == (0, 0)
