"""Filters that were stored before they were checked are checked when the schema is brought up to date."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID, uuid4

import asyncpg

from daemon.store.database import Connection
from daemon.store.filter_checks import FilterProblems
from daemon.store.migrate import migrate, upgrade
from daemon.store.statements import Statements, installed_files, load

T = TypeVar("T")
ORG = uuid4()
STORED = {
    '$.country == "DE"': 'strict ($."country" == "DE")',
    "($.n % 3) == 1": None,
    "$.a[*].abs() > 2": None,
    "$.a[*] == $.b": None,
    None: None,
}
BEFORE = """
insert into hookd.subscription (id, org_id, url, events, created_at, filter)
values ($1, $2, 'https://x/', '{t}', now(), $3)
"""
WANTED = """
insert into hookd.interest (org_id, pattern, subscription_id, filter) values ($1, 't', $2, $3::text::jsonpath)
"""
STATE = """
select s.filter_path, s.filter_problem, s.revision, i.filter::text,
    i.filter_blocked_until = 'infinity' as blocked
from hookd.subscription s join hookd.interest i on i.subscription_id = s.id where s.id = $1
"""


def on(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def before() -> Statements:
    """Return the migrations up to the one that brought the check, without functions."""
    files = installed_files()
    old = {name: text for name, text in files.items() if name < "migrations/0010" or name > "queries"}
    return Statements(
        "hookd", {name: text for name, text in old.items() if not name.startswith("functions/")}
    )


async def fill(connection: Connection) -> dict[UUID, str | None]:
    await migrate(connection, before())
    stored = {uuid4(): text for text in STORED}
    for subscription_id, text in stored.items():
        await connection.execute(BEFORE, subscription_id, ORG, text)
        path = None if text is None else f"strict {text}"
        await connection.execute(WANTED, ORG, subscription_id, path)
    return stored


def test_what_fits_gets_its_normal_form_and_the_rest_is_told_and_not_evaluated(
    empty_postgres_url: str,
) -> None:
    stored = on(empty_postgres_url, fill)
    report, problems = on(empty_postgres_url, lambda connection: upgrade(connection, load("hookd")))
    assert "0010_filters" in report.applied
    assert problems.count == 3
    for subscription_id, text in stored.items():

        async def state(connection: Connection, which: UUID = subscription_id) -> asyncpg.Record | None:
            return await connection.fetchrow(STATE, which)

        row = on(empty_postgres_url, state)
        assert row is not None
        if text is None or STORED[text] is not None:
            assert row["filter"] == STORED[text]
            assert (row["filter_problem"], row["revision"], row["blocked"]) == (None, 1, None)
        else:
            assert row["filter"] is row["filter_path"] is None
            assert row["blocked"]
            assert row["revision"] == 2
            assert "at character" in row["filter_problem"]
            assert f"{subscription_id}: {row['filter_problem']}" in str(problems)
    # Each start tells them again.
    assert on(empty_postgres_url, lambda connection: upgrade(connection, load("hookd")))[1] == problems


def test_nothing_is_told_where_all_is_well(postgres_url: str) -> None:
    _, problems = on(postgres_url, lambda connection: upgrade(connection, load("hookd")))
    assert problems == FilterProblems()


def test_of_many_the_first_are_named() -> None:
    told = tuple((uuid4(), "no") for _ in range(2))
    text = str(FilterProblems(7, told))
    assert "evaluated: 7." in text
    assert text.endswith(f"{told[1][0]}: no; and 5 more)")
