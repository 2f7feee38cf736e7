"""Postgres reads a filter as its tree is meant, and comes to the verdict of a plain reader of the tree."""

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings

from daemon.filters import path_of
from daemon.filters.tree import Condition
from daemon.filters.writing import write
from tests.support.filter_model import DATA, OBJECTS, PLAIN_DATA, conditions, holds, matches

Verdicts = Callable[[list[str], list[Any]], list[bool | None]]

SQL = """
select jsonb_path_match(x.data, x.filter::jsonpath, silent => true)
from unnest($1::text[], $2::text[]::jsonb[]) with ordinality x(filter, data, n) order by n
"""


def as_json(value: Any) -> str:
    """Return JSON whose numbers are decimals."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(map(as_json, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{as_json(one)}' for key, one in value.items())}}}"
    return json.dumps(value)


@pytest.fixture
def verdicts(postgres_server: str) -> Iterator[Verdicts]:
    """A function that asks Postgres what each filter makes of the data beside it."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres_server))

        def ask(filters: list[str], data: list[Any]) -> list[bool | None]:
            rows = runner.run(connection.fetch(SQL, filters, list(map(as_json, data))))
            return [row[0] for row in rows]

        yield ask
        runner.run(connection.close())


def test_a_tree_means_the_same_to_postgres(verdicts: Verdicts) -> None:
    @given(conditions(), DATA)
    @settings(max_examples=150, deadline=None)
    def agree(tree: Condition, data: Any) -> None:
        assert verdicts([write(tree)], [data]) == [holds(tree, data)]

    agree()


def test_an_object_means_the_same_to_postgres_and_is_never_unknown(verdicts: Verdicts) -> None:
    @given(OBJECTS, PLAIN_DATA)
    @settings(max_examples=150, deadline=None)
    def agree(source: Any, data: Any) -> None:
        assert verdicts([path_of(json.loads(as_json(source)))], [data]) == [matches(source, data)]

    agree()


PEOPLE = {"name": "Ada", "tags": ["urgent", 5, {"a": 1}], "age": 36, "note": None, "at": {"city": "Bonn"}}


@pytest.mark.parametrize(
    "source, passes",
    [
        ('exists($.tags[*] ? (@ == "urgent"))', True),
        ('$.tags[*] == "urgent"', False),  # unknown, for its elements are of several types
        ("$.tags[last].a == 1", True),
        ('$.tags.size() == 3 && $.tags.type() == "array"', True),
        ("$.nobody != 1", False),
        ("!($.nobody == 1)", False),
        ("!exists($.nobody)", False),
        ("!exists($ ? (exists(@.nobody)))", True),
        ({"tags": "urgent"}, True),
        ({"tags": {"$ne": "urgent"}}, False),
        ({"tags": {"$in": [4, 5]}}, True),
        ({"tags[*].a": 1}, True),
        ({"tags[*].a": {"$exists": True}}, True),
        ({"tags[2].a": {"$gte": 1}, "tags[last].a": 1}, True),
        ({"name[*]": "Ada"}, False),
        ({"name[*]": {"$ne": "Ada"}}, True),
        ({"nobody": {"$ne": 1}, "nowhere.at.all": {"$nin": [1]}, "$not": {"nobody": 1}}, True),
        ({"nobody": None}, False),
        ({"note": None, "nobody": {"$exists": False}}, True),
        ({"at": {"city": {"$startsWith": "B"}}, "at.city": "Bonn", '"at"."city"': "Bonn"}, True),
        ({"age": {"$gt": 35, "$lt": 37, "$not": {"$in": [1, 2]}}}, True),
        ({"age": {"$or": [1, {"$gt": 30}]}}, True),
        ({"age": {"$gt": "35"}}, False),
    ],
)
def test_what_is_told_in_the_documents(verdicts: Verdicts, source: Any, passes: bool) -> None:
    assert (verdicts([path_of(source)], [PEOPLE]) == [True]) is passes


def test_an_object_looks_into_short_arrays_only(verdicts: Verdicts) -> None:
    found = verdicts([path_of({"a": 7})] * 2, [{"a": [7] * 1000}, {"a": [7] * 1001}])
    assert found == [True, False]
