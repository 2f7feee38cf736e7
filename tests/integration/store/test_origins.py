"""Hosts by origin: those of before are told apart by scheme. Requests beside the queue keep to limits."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from daemon.store.statements import installed_files
from tests.support.postgres import Session
from tests.support.queue_lab import (
    advance,
    claim_any,
    prepare,
    prove,
    publish_ready,
    record,
    register,
    result,
    route_all,
)

FILES = installed_files()
# Of what it names, one column has another name today.
MIGRATION = FILES["migrations/0011_origins.sql"].replace("cap,", "max_in_flight,")
# What the next migration makes of lanes: the tests run on tables that have it already.
NEXT = FILES["migrations/0012_fair_hosts.sql"].split(";")
SHARES = [one for one in NEXT if "insert into hookd.host_share" in one or "h set owner =" in one]


@pytest.fixture
async def session(connect: Callable[[], Awaitable[Session]]) -> Session:
    opened = await connect()
    await prepare(opened)
    return opened


async def published(session: Session, org: UUID, count: int) -> None:
    await publish_ready(session, org, count)
    await route_all(session)


async def hosts(session: Session) -> dict[str, int]:
    found = await session.fetch("select name, in_flight from hookd.host order by name")
    return {row["name"]: row["in_flight"] for row in found}


async def at(session: Session, subscription: UUID) -> str:
    name: str = await session.fetchval(
        "select h.name from hookd.lane l join hookd.host h on h.id = l.host_id where l.subscription_id = $1",
        subscription,
    )
    return name


async def subscribe(session: Session, org: UUID, host: str, url: str) -> UUID:
    """Register as the code before did: by host and port, whatever the scheme."""
    mine = await register(session, org, host=host, rate=7, burst=8, max_in_flight=9)
    await session.execute("update hookd.subscription set url = $2 where id = $1", mine, url)
    return mine


async def test_a_shared_row_becomes_one_for_each_scheme(session: Session) -> None:
    org = uuid4()
    secure = await subscribe(session, org, "both.example:8443", "https://both.example:8443/")
    plain = await subscribe(session, org, "both.example:8443", "HTTP://both.example:8443/")
    only_plain = await subscribe(session, org, "plain.example:80", "http://plain.example/")
    only_secure = await subscribe(session, org, "secure.example:443", "https://secure.example/")
    await session.execute(
        "insert into hookd.host (name, rate, burst, max_in_flight, tokens, refilled_at)"
        " values ('left:443', 1, 1, 1, 1, now())"
    )
    await session.execute(MIGRATION)
    assert await at(session, secure) == "https://both.example:8443"
    assert await at(session, plain) == "http://both.example:8443"
    assert await at(session, only_plain) == "http://plain.example:80"
    assert await at(session, only_secure) == "https://secure.example:443"
    assert "https://left:443" in await hosts(session)
    limits = await session.fetch(
        "select distinct rate, burst, max_in_flight from hookd.host where name like '%both%'"
    )
    assert [tuple(row) for row in limits] == [(7, 8, 9)]
    before = await hosts(session)
    await session.execute(MIGRATION)
    assert await hosts(session) == before, "there is nothing more to do"


async def test_what_is_under_way_and_owed_meanwhile_ends_well(session: Session) -> None:
    org = uuid4()
    for scheme in ("http", "https"):
        await subscribe(session, org, "both.example:8443", f"{scheme}://both.example:8443/")
    await prove(session)
    await published(session, org, 2)
    held = await claim_any(session)
    assert len(held) == 4
    held, given_back = held[:2], held[2:]
    await record(session, [result(one, "unsent") for one in given_back])
    for statement in (MIGRATION, "delete from hookd.host_share", *SHARES):
        await session.execute(statement)
    assert await hosts(session) == {"http://both.example:8443": 0, "https://both.example:8443": 2}
    assert await record(session, [result(one) for one in held]) == [True, True]
    assert set((await hosts(session)).values()) == {0}
    # What is owed is found at either, though nobody has told its host of it since.
    assert len(await claim_any(session)) == 2
    assert set((await hosts(session)).values()) == {1}


async def take(session: Session, org: UUID, subscription: UUID, count: int) -> float | None:
    """Take tokens and return for how many seconds there are too few."""
    row = await session.fetchrow("select * from hookd.take_tokens($1, $2, $3)", org, subscription, count)
    assert row is not None
    assert row["host"] == "one.example:443"
    wait: float | None = row["wait"]
    return wait


async def test_tokens_are_those_of_deliveries(session: Session) -> None:
    org = uuid4()
    mine = await register(session, org, rate=2, burst=10)
    await prove(session)
    assert await take(session, org, mine, 5) is None
    await published(session, org, 10)
    assert len(await claim_any(session)) == 5
    assert await take(session, org, mine, 1) == pytest.approx(0.5)
    await advance(session, 0.5)
    assert await take(session, org, mine, 1) is None
    assert await claim_any(session) == []
    assert await hosts(session) == {"one.example:443": 5}, "a test is not under way for the queue"


async def test_more_than_a_bucket_holds_is_owed_to_those_who_come_later(session: Session) -> None:
    org = uuid4()
    mine = await register(session, org, rate=2, burst=1)
    await prove(session)
    assert await take(session, org, mine, 5) is None
    assert await take(session, org, mine, 5) == pytest.approx(2.5)
    await published(session, org, 1)
    assert await claim_any(session) == []
    await advance(session, 2.6)
    assert len(await claim_any(session)) == 1


async def test_an_open_circuit_is_told(session: Session) -> None:
    org = uuid4()
    mine = await register(session, org)
    await session.execute(
        "update hookd.host set circuit_failures = 5, blocked_until = hookd.clock() + interval '7 seconds'"
    )
    row = await session.fetchrow(
        "select wait, blocked_until - hookd.clock() as blocked from hookd.take_tokens($1, $2, 1)", org, mine
    )
    assert row is not None
    assert (row["wait"], row["blocked"].total_seconds()) == (None, 7.0)


async def test_nothing_is_taken_for_what_the_organisation_has_not(session: Session) -> None:
    mine = await register(session, uuid4(), rate=2, burst=10)
    for org, subscription in ((uuid4(), mine), (uuid4(), uuid4())):
        row = await session.fetchrow("select * from hookd.take_tokens($1, $2, 1)", org, subscription)
        assert row is not None
        assert set(row.values()) == {None}
    assert await session.fetchval("select tokens from hookd.host") == 10
