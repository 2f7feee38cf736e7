"""What README and the documents show in SQL is run."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.postgres import Session
from tools.check_readme import blocks

ROOT = Path(__file__).parents[2]
Connect = Callable[[], Awaitable[Session]]


def sql(page: str) -> list[str]:
    found = blocks((ROOT / page).read_text())
    return ["\n".join(block.lines) for block in found if block.language == "sql"]


async def ready(connect: Connect) -> Session:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    return session


async def test_the_sql_of_readme_runs(connect: Connect) -> None:
    session = await ready(connect)
    (publishing,) = sql("README.md")
    await session.execute(publishing)
    assert await session.fetchval("select count(*) from hookd.event") == 1


async def test_the_sql_of_the_how_to_runs(connect: Connect) -> None:
    session = await ready(connect)
    publishing, granting = sql("docs/how-to/publish-in-sql.md")
    await session.execute(publishing)
    assert await session.fetchval("select count(*) from hookd.event") == 5
    # roles belong to the whole server, which other tests use at the same time
    await session.execute(f"begin; {granting}; set local role shop;")
    await session.fetchval(
        "select hookd.publish('018f6d1e-6a00-7000-8000-000000000001', 'match.accepted', '{}')"
    )
    await session.rollback()


def test_no_other_page_shows_sql() -> None:
    pages = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")}
    assert {page for page in pages if sql(page)} == {"docs/how-to/publish-in-sql.md"}
