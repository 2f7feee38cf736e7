"""What a role can do that may connect, and perhaps create in `public`, and has no rights of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from daemon.store.database import Database
from daemon.store.events import Events, NewEvent, Once
from daemon.store.upkeep import make_partitions
from daemon.uuid7 import uuid7
from tests.support.postgres import Session
from tests.support.queue_lab import claim_any, prepare, publish, register, route_all

Connect = Callable[[], Awaitable[Session]]
ORG = UUID("018f6d1e-6a00-7000-8000-000000000001")

TAKES_EVERY_LOCK = """
    select pg_advisory_lock(hashtextextended('hookd.register', uuid_hash('{org}'))),
        pg_advisory_lock(hashtextextended('hookd.replays', uuid_hash('{org}'))),
        pg_advisory_lock(hashtextextended('hookd.partitions', {event}::bigint)),
        pg_advisory_lock(hashtextextended('hookd.retention', {event}::bigint)),
        pg_advisory_lock(hashtextextended('{org}' || 'k', {idempotency}::bigint))
"""

BETTER_FITS = """
    create function public.cardinality(uuid[]) returns integer language plpgsql as
        $$ begin raise exception 'a stranger''s function ran'; end $$;
    create function public.array_remove(uuid[], uuid) returns uuid[] language plpgsql as
        $$ begin raise exception 'a stranger''s function ran'; end $$;
    create function public.unnest(uuid[]) returns setof uuid language plpgsql as
        $$ begin raise exception 'a stranger''s function ran'; end $$;
    create function public.array_fill(text, integer[]) returns text[] language plpgsql as
        $$ begin raise exception 'a stranger''s function ran'; end $$;
    create function public.stranger(uuid, uuid) returns boolean language plpgsql as
        $$ begin raise exception 'a stranger''s operator ran'; end $$;
    create operator public.<> (leftarg = uuid, rightarg = uuid, function = public.stranger);
"""


@asynccontextmanager
async def stranger(connect: Connect) -> AsyncIterator[Session]:
    """Give a session of a role that may use the schema `public` and nothing else."""
    session = await connect()
    role = f"stranger_{uuid4().hex[:12]}"
    await session.execute(f"create role {role}; grant usage, create on schema public to {role}")
    await session.execute(f"set role {role}")
    try:
        yield session
    finally:
        await session.execute(f"reset role; drop owned by {role}; drop role {role}")


async def test_functions_that_fit_better_are_not_run_with_our_rights(connect: Connect) -> None:
    session = await connect()
    await prepare(session)
    async with stranger(connect) as other:
        await other.execute(BETTER_FITS)
        # Though this session looks there first, as one whose role was set up so.
        await session.execute("set search_path = public, pg_catalog")
        await register(session, ORG)
        await publish(session, ORG, key="k")
        await route_all(session)
        assert await claim_any(session)
        await session.fetch("select * from hookd.repair(0, 100)")
        await session.execute("reset search_path")


async def test_every_function_looks_in_pg_catalog_alone_or_is_inlined_into_such(connect: Connect) -> None:
    session = await connect()
    rows = await session.fetch(
        "select p.proname from pg_proc p join pg_language l on l.oid = p.prolang"
        " where p.pronamespace = 'hookd'::regnamespace"
        " and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)"
        " and (l.lanname <> 'sql' or p.proconfig is not null)"
    )
    assert rows == []


async def test_no_function_is_for_everybody(connect: Connect) -> None:
    session = await connect()
    rows = await session.fetch(
        "select p.proname from pg_proc p"
        " cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        " where p.pronamespace = 'hookd'::regnamespace and a.grantee = 0"
    )
    assert rows == []
    async with stranger(connect) as other:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await other.fetch("select hookd.clock()")


async def test_no_lock_of_ours_can_be_taken_by_its_name(database: Database, connect: Connect) -> None:
    session = await connect()
    oids = await session.fetchrow("select 'hookd.event'::regclass::oid, 'hookd.idempotency'::regclass::oid")
    assert oids is not None
    async with stranger(connect) as other:
        await other.fetch(TAKES_EVERY_LOCK.format(org=ORG, event=oids[0], idempotency=oids[1]))
        await session.execute("set lock_timeout = '2s'")
        await database.run(lambda connection: make_partitions(connection, database))
        await register(session, ORG)
        event = NewEvent(uuid7(), ORG, "match.proposed", "{}")
        assert await Events(database).publish([event], Once(ORG, "k", b"f")) == [event.id]
        assert await session.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 5


async def test_one_organisation_registers_one_at_a_time(connect: Connect) -> None:
    session, second = await connect(), await connect()
    await prepare(session)
    await session.begin()
    await register(session, ORG)
    waits = "select hookd.exclude_others($1, 'register', interval '10 milliseconds')"
    assert await second.fetchval(waits, ORG) is False
    assert await second.fetchval(waits, uuid4()) is True
    await session.rollback()
    assert await second.fetchval(waits, ORG) is True
    # The bound ends with the function.
    assert await second.fetchval("select current_setting('lock_timeout')") == "0"
