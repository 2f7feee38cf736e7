"""Two schemas in one database: neither touches the other's tables, whatever is done in one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from daemon.store.database import Database, open_database
from daemon.store.floors import meet_cluster
from daemon.store.migrate import check, migrate
from daemon.store.retention import retain
from daemon.store.upkeep import make_partitions
from tests.support.postgres import Session

Connect = Callable[[], Awaitable[Session]]
WEEK = 7 * 86400.0
TABLES = """
    select n.nspname::text, c.relname::text, c.oid, coalesce(i.inhparent, 0)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_inherits i on i.inhrelid = c.oid
    where c.relkind in ('r', 'p') and n.nspname = $1 order by 1, 2
"""


async def start(database: Database) -> None:
    """Do to the schema what a start does."""

    async def unit(connection) -> None:  # type: ignore[no-untyped-def]
        await migrate(connection, database.statements)
        await make_partitions(connection, database)
        await meet_cluster(connection, database)
        await check(connection, database.statements)

    await database.run(unit)


async def test_a_second_schema_starts_twice_and_its_retention_is_its_own(
    database: Database, connect: Connect, postgres_url: str
) -> None:
    session = await connect()
    await start(database)
    long_ago = datetime.now(UTC) - timedelta(weeks=6)
    await session.fetch("select hookd.make_partitions($1, now())", long_ago)
    before = await session.fetch(TABLES, "hookd")
    async with open_database(postgres_url, schema="cell2") as other:
        await start(other)
        await session.fetch("select cell2.make_partitions($1, now())", long_ago)
        made = {row["relname"] for row in await session.fetch(TABLES, "cell2")}
        assert made == {row["relname"] for row in before}
        await start(other)
        dropped = await retain(other, {"event": 3 * WEEK, "attempt": 3 * WEEK}, now=datetime.now(UTC))
        assert dropped
        assert made - {row["relname"] for row in await session.fetch(TABLES, "cell2")} == set(dropped)
        # All that was there is there, and each partition still belongs to its table.
        assert await session.fetch(TABLES, "hookd") == before
        ahead = await session.fetchval(
            "select max(ends_at) > now() + interval '7 weeks' from cell2.partitions()"
        )
        assert ahead is True


async def test_every_table_has_a_primary_key(connect: Connect) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    rows = await session.fetch(
        "select c.relname from pg_class c"
        " where c.relnamespace = 'hookd'::regnamespace and c.relkind in ('r', 'p')"
        " and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)"
    )
    assert rows == []


async def test_rows_can_be_deleted_while_the_schema_is_replicated(connect: Connect) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    await session.execute("create publication everything for tables in schema hookd")
    await session.execute(
        "insert into hookd.attempt (id, subscription_id, delivery_id, event_id, event_type, attempt,"
        " succeeded, attempted_at)"
        " select hookd.uuid7(now()), i, i, i, 't', 1, true, now() from gen_random_uuid() i"
    )
    await session.execute("update hookd.attempt set attempt = 2")
    await session.execute("delete from hookd.attempt")
    assert await session.fetchval("select count(*) from hookd.attempt") == 0
