"""What README shows in SQL is run."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.postgres import Session
from tools.check_readme import blocks

README = Path(__file__).parents[2] / "README.md"


async def test_the_sql_of_readme_runs(connect: Callable[[], Awaitable[Session]]) -> None:
    session = await connect()
    await session.fetch("select hookd.make_partitions(now(), now())")
    found = [block for block in blocks(README.read_text()) if block.language == "sql"]
    assert len(found) == 2
    publishing, granting = ("\n".join(block.lines) for block in found)
    await session.execute(publishing)
    assert await session.fetchval("select count(*) from hookd.event") == 5
    # roles belong to the whole server, which other tests use at the same time
    await session.execute(f"begin; {granting}; set local role shop;")
    await session.fetchval(
        "select hookd.publish('018f6d1e-6a00-7000-8000-000000000001', 'match.accepted', '{}')"
    )
    await session.rollback()
