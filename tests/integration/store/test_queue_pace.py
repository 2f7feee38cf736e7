"""How many requests a lane may have under way, and when a host that could not be reached is tried again."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from daemon.store.results import Held
from tests.support.postgres import Session
from tests.support.queue_lab import (
    advance,
    claim,
    claim_any,
    prepare,
    publish_ready,
    record,
    register,
    result,
    route_all,
)

Connect = Callable[[], Awaitable[Session]]
REFUSED = {"delay": 300.0, "host_failed": True, "error": "connect_refused"}
BUSY = {"delay": 300.0, "lane": "answered_badly", "host_failed": False, "status": 503}
NOT_FOUND = {"delay": 300.0, "lane": "answered_well", "host_failed": False, "status": 404}
SILENT = {
    "delay": 300.0,
    "lane": "unanswered",
    "host_failed": False,
    "error": "timeout",
    "duration": 15_000.0,
}
LOST = {**SILENT, "error": "connection_lost", "duration": 1.0}


@pytest.fixture
async def session(connect: Connect) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def lane(session: Session, window: int = 64, **more: Any) -> UUID:
    """Register a proven lane of that window at a host that takes as many; return its organisation."""
    org = uuid4()
    await register(session, org, **{"max_in_flight": 10_000, **more})
    await session.execute(
        "update hookd.lane set proven = true, window_size = $1, answered_at = hookd.clock()"
        " where org_id = $2",
        window,
        org,
    )
    return org


async def owe(session: Session, org: UUID, count: int) -> None:
    await publish_ready(session, org, count)
    await route_all(session)


async def window(session: Session) -> tuple[int, bool]:
    row = await session.fetchrow("select window_size, proven from hookd.lane")
    assert row is not None
    return row["window_size"], row["proven"]


def failed(held: Sequence[Held], why: dict[str, Any]) -> list[Any]:
    return [result(one, "retry", **why) for one in held]


async def test_a_share_of_bad_answers_leaves_the_room_as_it_is(session: Session) -> None:
    org = await lane(session)
    for bad in (1, 3, 13, 32):
        await owe(session, org, 64)
        held = await claim_any(session, batch=64)
        await record(session, [*failed(held[:bad], BUSY), *(result(one) for one in held[bad:])])
        size, proven = await window(session)
        assert proven and size >= 64
        await advance(session, 0.5)


async def test_most_of_a_window_bad_halves_it_once(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 300)
    sizes = []
    for _ in range(6):
        held = await claim_any(session)
        for start in range(0, len(held), 16):
            await record(session, failed(held[start : start + 16], BUSY))
        sizes.append((await window(session))[0])
        await advance(session, 0.01)
    assert sizes[:3] == [32, 16, 8]
    assert sizes[-1] >= 2, "never at once"
    assert (await window(session))[1], "it answers"
    held = await claim_any(session)
    await record(session, [result(one) for one in held])
    assert (await window(session))[0] == sizes[-1] + len(held)


@pytest.mark.parametrize("why", [BUSY, LOST, SILENT], ids=["busy", "lost", "silent"])
async def test_one_that_fails_costs_a_lane_of_few_requests_nothing(
    session: Session, why: dict[str, Any]
) -> None:
    org = await lane(session, 10_000)
    for good in (True, False, True, True, False, True):
        await owe(session, org, 1)
        (held,) = await claim_any(session)
        await advance(session, 0.01)
        await record(session, [result(held)] if good else failed([held], {**why, "duration": 10.0}))
        size, proven = await window(session)
        assert size >= 9_000 and proven
        await advance(session, 0.1)


async def test_an_answer_that_blames_the_request_is_a_good_one(session: Session) -> None:
    org = await lane(session, 8)
    for _ in range(5):
        await owe(session, org, 8)
        await record(session, failed(await claim_any(session, batch=8), NOT_FOUND))
        await advance(session, 1)
    assert await window(session) == (48, True)


async def test_silence_beside_answers_costs_nothing(session: Session) -> None:
    """One request in eight gets no answer for 15 seconds, while the others are answered."""
    org = await lane(session)
    await owe(session, org, 200)
    silent = await claim(session, batch=4)
    for _ in range(4):
        await advance(session, 4)
        await record(session, [result(one) for one in await claim(session, batch=28)])
    await record(session, failed(silent, SILENT))
    size, proven = await window(session)
    assert proven and size >= 64


async def test_a_lane_that_gives_no_answer_rests_a_tenth_of_the_time(session: Session) -> None:
    """Its timeout is a tenth of a second: ten requests a second for nothing would be others' loss."""
    org = await lane(session)
    await owe(session, org, 200)
    tried: list[float] = []
    for tick in range(1500):
        if held := await claim_any(session):
            tried.append(tick / 10)
            await advance(session, 0.1)
            await record(session, failed(held, {**SILENT, "duration": 100.0}))
        else:
            await advance(session, 0.1)
    gaps = [round(later - one, 1) for one, later in pairwise(tried) if one > 1.5]
    assert gaps == sorted(gaps), "the longer it is away, the less it is tried"
    assert gaps[0] == pytest.approx(1.1, abs=0.2) and gaps[-1] == pytest.approx(10.0, abs=1.0)
    await advance(session, 10)
    await record(session, [result(one) for one in await claim_any(session)])
    assert await claim_any(session), "it answers, and goes on at once"


async def test_a_lane_that_gives_no_answer_shrinks_to_one(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 200)
    held = await claim(session, batch=64)
    await advance(session, 15)
    await record(session, failed(held[:1], SILENT))
    assert await window(session) == (1, False)
    await record(session, failed(held[1:], SILENT))
    assert await window(session) == (1, False)
    await advance(session, 1.5)
    (one,) = await claim_any(session)
    await record(session, [result(one)])
    assert await window(session) == (2, True)


async def test_a_lane_that_only_closes_connections_gives_no_answer(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 200)
    await record(session, failed(await claim(session, batch=8), LOST))
    assert await window(session) == (64, True), "it answered a moment ago"
    await advance(session, 1)
    await record(session, failed(await claim(session, batch=1), LOST))
    assert await window(session) == (1, False)


# Circuits.


async def circuit(session: Session) -> tuple[int, int]:
    row = await session.fetchrow("select circuit_failures, circuit_trips from hookd.host")
    assert row is not None
    return row["circuit_failures"], row["circuit_trips"]


async def blocked_for(session: Session) -> float:
    found: float = await session.fetchval(
        "select extract(epoch from blocked_until - hookd.clock())::float8 from hookd.host"
    )
    return found


async def open_circuit(session: Session) -> None:
    for _ in range(5):
        await record(session, failed(await claim(session, batch=1), REFUSED))
        await advance(session, 0.01)
    assert await circuit(session) == (5, 1)


async def test_failures_of_one_moment_count_once(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 200)
    together = await claim(session, batch=30)
    await record(session, failed(together[:20], REFUSED))
    assert await circuit(session) == (1, 0)
    await advance(session, 0.005)
    await record(session, failed(together[20:], {**REFUSED, "duration": 6.0}))
    assert await circuit(session) == (1, 0), "they were under way together"
    await advance(session, 0.1)
    await record(session, failed(await claim(session, batch=2), REFUSED))
    assert await circuit(session) == (2, 0)


async def test_failures_that_held_a_sender_for_long_count_each(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 200)
    waited = {**REFUSED, "error": "connect_timeout", "duration": 5000.0}
    held = await claim(session, batch=64)
    await advance(session, 5)
    await record(session, failed(held[:5], waited))
    assert await circuit(session) == (5, 1)
    assert await blocked_for(session) <= 0.6
    await advance(session, 1)
    await record(session, failed(held[5:], waited))
    assert await circuit(session) == (5, 1), "what was sent before it opened says nothing new"


async def test_pauses_begin_short_and_stay_below_a_twentieth_of_the_time_away(session: Session) -> None:
    org = await lane(session)
    await owe(session, org, 500)
    await open_circuit(session)
    away, pauses = 0.05, []
    while away < 7200:
        pause = await blocked_for(session)
        pauses.append(pause)
        assert pause <= max(1.0, away / 20 + 0.01) and pause <= 360
        away += (pause := max(pause, 0)) + 0.001
        await advance(session, pause + 0.001)
        (probe,) = await claim_any(session)
        assert await claim_any(session) == [], "one at a time"
        await record(session, failed([probe], {**REFUSED, "delay": 86_400.0}))
    assert 0.38 <= pauses[0] <= 0.6
    assert 0.63 <= pauses[1] <= 0.97
    assert max(pauses) >= 200
    assert 100 <= len(pauses) <= 260


async def test_what_could_not_connect_goes_when_the_host_is_reached(session: Session) -> None:
    org, ordered, other = await lane(session), await lane(session, 1, ordered=True), await lane(session)
    await owe(session, org, 3)
    refused = await claim_any(session)
    await owe(session, ordered, 2)
    [first] = await claim_any(session)
    await record(session, failed([*refused, first], REFUSED))
    await advance(session, 0.5)
    assert await claim_any(session) == []
    await owe(session, other, 1)
    await record(session, [result(one) for one in await claim_any(session)])
    again = await claim_any(session)
    assert {one.delivery_id for one in again} == {one.delivery_id for one in [*refused, first]}
    await advance(session, 0.01)
    await record(session, [result(one) for one in again if one.delivery_id == first.delivery_id])
    [second] = await claim_any(session)
    assert second.subscription_id == first.subscription_id


async def test_a_host_in_reach_again_wakes_lanes_of_all_its_organisations(session: Session) -> None:
    orgs = [await lane(session) for _ in range(3)]
    for org in orgs:
        await owe(session, org, 30)
    await open_circuit(session)
    held = 90 - 5
    await advance(session, await blocked_for(session) + 0.001)
    [probe] = await claim_any(session)
    await record(session, [result(probe)])
    assert len([*await claim_any(session, batch=1000), *await claim_any(session, batch=1000)]) == held + 4


# Catching up.


async def outage(session: Session, org: UUID, count: int = 4, seconds: float = 2.0) -> list[Held]:
    """Let so many events of an organisation fail, one after the other; return them."""
    found = []
    for _ in range(count):
        await owe(session, org, 1)
        held = await claim_any(session)
        await record(session, failed(held, BUSY))
        await advance(session, seconds / count)
        found += held
    return found


async def succeed(session: Session, org: UUID) -> None:
    await owe(session, org, 1)
    [held] = await claim_any(session, batch=1)
    await record(session, [result(held)])


async def test_what_failed_meanwhile_goes_when_one_succeeds_behind_what_is_due(session: Session) -> None:
    org = await lane(session)
    missed = {one.delivery_id for one in await outage(session, org)}
    assert await claim_any(session) == []
    await succeed(session, org)
    await owe(session, org, 1)
    [live] = await claim_any(session, batch=1)
    assert live.delivery_id not in missed
    late = await claim_any(session)
    assert {one.delivery_id for one in late} == missed
    await record(session, [result(one) for one in [live, *late]])
    assert await session.fetchval("select count(*) from hookd.delivery") == 0
    assert await session.fetchval("select catch_up_to is null from hookd.lane")


async def test_it_goes_once_and_keeps_its_schedule(session: Session) -> None:
    org = await lane(session)
    missed = await outage(session, org)
    due = {row["id"]: row["due"] for row in await session.fetch("select id, due from hookd.delivery")}
    await succeed(session, org)
    late = await claim_any(session)
    await advance(session, 0.5)
    await record(session, failed(late, {**BUSY, "delay": 5.0}))
    rows = await session.fetch("select id, due, attempt, failures from hookd.delivery")
    assert {row["id"]: row["due"] for row in rows} == due
    assert {(row["attempt"], row["failures"]) for row in rows} == {(2, 1)}
    shown = await session.fetch("select next_attempt_at from hookd.attempt where attempt = 2")
    assert {row["next_attempt_at"] for row in shown} == set(due.values())
    for _ in range(3):
        await advance(session, 2)
        await succeed(session, org)
        assert await claim_any(session) == []
    await advance(session, 300)
    assert {one.delivery_id for one in await claim_any(session)} == {one.delivery_id for one in missed}


async def test_the_last_attempt_of_a_schedule_is_not_lost_by_going_early(session: Session) -> None:
    org = await lane(session)
    await outage(session, org)
    await session.execute("update hookd.delivery set failures = 9")
    await succeed(session, org)
    rows = await session.fetch(
        "select failures from hookd.claim(gen_random_uuid(), 500, 500, interval '1 minute', false)"
    )
    assert [row["failures"] for row in rows] == [8] * 4


async def test_one_that_fails_among_good_ones_keeps_its_schedule(session: Session) -> None:
    org = await lane(session)
    for _ in range(3):
        await owe(session, org, 1)
        await record(session, failed(await claim_any(session), BUSY))
        for _ in range(3):
            await advance(session, 1)
            await succeed(session, org)
            assert await claim_any(session) == []


async def test_a_moment_of_nothing_but_failures_is_an_outage_where_there_are_many(session: Session) -> None:
    org = await lane(session)
    missed = await outage(session, org, count=5, seconds=0.1)
    await succeed(session, org)
    assert {one.delivery_id for one in await claim_any(session)} == {one.delivery_id for one in missed}


async def test_a_receiver_that_is_back_is_not_given_more_than_it_copes_with(session: Session) -> None:
    org = await lane(session)
    await outage(session, org, count=40)
    await session.execute("update hookd.lane set window_size = 4")
    await succeed(session, org)
    assert len(await claim_any(session)) == 5
    await succeed_none(session)


async def succeed_none(session: Session) -> None:
    """A lane that is full sleeps, however much it has to catch up with."""
    assert await claim_any(session) == []
    row = await session.fetchrow("select * from hookd.next_due()")
    assert row is not None and row["ready"] is None


async def test_a_second_outage_while_it_catches_up_adds_to_it(session: Session) -> None:
    org = await lane(session)
    missed = await outage(session, org, count=6)
    await succeed(session, org)
    early = await claim_any(session, batch=2)
    await advance(session, 0.1)
    await record(session, failed(early, BUSY))
    missed += await outage(session, org, count=3)
    await succeed(session, org)
    again = await claim_any(session)
    assert {one.delivery_id for one in again} == {one.delivery_id for one in missed}


async def test_pause_and_retry_after_hold_what_catches_up(session: Session) -> None:
    org = await lane(session)
    await outage(session, org)
    await owe(session, org, 1)
    [live] = await claim_any(session)
    await owe(session, org, 1)
    [busy] = await claim_any(session)
    await record(session, [result(live), *failed([busy], {**BUSY, "hold": 60.0, "delay": 60.0})])
    assert await claim_any(session) == []
    await advance(session, 61)
    assert len(await claim_any(session)) >= 4
