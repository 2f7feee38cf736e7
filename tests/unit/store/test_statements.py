import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.store.statements import StatementError, Statements, UnknownStatement, installed_files, load

ONE = {"queries/a.sql": "-- name: one\nselect 1\n"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("select * from hookd.event", "select * from cell.event"),
        ("'hookd.event'::regclass", "'cell.event'::regclass"),
        ("format('drop table hookd.%I', name)", "format('drop table cell.%I', name)"),
        ("create schema hookd;", "create schema cell;"),
        ("grant usage on schema hookd to x", "grant usage on schema cell to x"),
        ("'hookd.' || name", "'cell.' || name"),
        ("drop table hookd.{partition}", "drop table cell.{partition}"),
        ("set_config('hookd.plans', '', true)", "set_config('cell.plans', '', true)"),
        ("'hookd_something'", "'hookd_something'"),
        ("'hookd migrate'", "'hookd migrate'"),
        ("my_hookd.event", "my_hookd.event"),
        ("x.hookd.event", "x.hookd.event"),
        ("schema hookd_two", "schema hookd_two"),
    ],
)
def test_schema_replaces_the_qualifier_and_nothing_else(text: str, expected: str) -> None:
    assert Statements("cell", ONE).substitute(text) == expected


def test_default_schema_leaves_the_files_as_they_are() -> None:
    statements = load("hookd")
    files = installed_files()
    assert [one.sql for one in statements.migrations] == [
        text for path, text in sorted(files.items()) if path.startswith("migrations/")
    ]
    assert load("hookd") is statements


def test_installed_files_leave_no_trace_of_the_default_schema() -> None:
    statements = load("cell")
    texts = [one.sql for one in statements.migrations] + [sql for _, sql in statements.functions]
    for text in (*texts, *statements.values()):
        assert re.search(r"\bhookd\.", text) is None


@given(st.text(max_size=80))
def test_a_schema_name_is_refused_or_safe_without_quotes(name: str) -> None:
    try:
        statements = Statements(name, ONE)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", statements.schema)
    assert not statements.schema.startswith("pg_")


@pytest.mark.parametrize("name", ["hookd", "cell_2", "_x", "a" * 48])
def test_good_schema_names(name: str) -> None:
    assert Statements(name, ONE).schema == name


@pytest.mark.parametrize("name", ["", "Hookd", "2cells", "pg_hookd", "a b", 'a"; drop', "a" * 49, "ä", "a\n"])
def test_bad_schema_names(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the schema's name: use 1 to 48"):
        Statements(name, ONE)


def test_named_statements() -> None:
    text = "-- about this file\n\n-- name: one\n-- why\nselect 1\n\n--name:two\nselect 2\nfrom hookd.t\n"
    statements = Statements("cell", {"queries/a.sql": text})
    assert dict(statements) == {"one": "-- why\nselect 1", "two": "select 2\nfrom cell.t"}


def test_unknown_statement_names_the_nearest() -> None:
    statements = Statements("cell", {"queries/a.sql": "-- name: get_subscription\nselect 1"})
    with pytest.raises(
        UnknownStatement, match=r"no statement 'get_subscriptions' in .*there is get_subscription"
    ):
        statements["get_subscriptions"]
    assert "get_subscriptions" not in statements


@pytest.mark.parametrize(
    "files, message",
    [
        (
            {"queries/a.sql": "-- name: x\nselect 1", "queries/b.sql": "-- name: x\nselect 2"},
            "b.sql: another",
        ),
        ({"queries/a.sql": "select 1"}, "before the first line"),
        ({"queries/a.sql": "-- name: x\n-- only a comment\n"}, "no SQL below '-- name: x'"),
        ({"queries/a.sql": "-- name: Not Good\nselect 1"}, "name the statement 'Not Good' with"),
        ({"queries/a.sql": "-- name:\nselect 1"}, "name the statement '' with"),
        ({"migrations/1_x.sql": "select 1"}, "name it NNNN_what_it_does.sql"),
        ({"migrations/0002_x.sql": "select 1"}, "0001, 0002 and so on"),
        ({"migrations/0001_x.sql": "", "migrations/0001_y.sql": ""}, "0001_x, 0001_y"),
        ({"other/x.sql": "select 1"}, "put it into"),
        ({"queries/a.sql": '-- name: x\nselect * from "hookd".event'}, "a.sql: x: 'hookd' stays as it is"),
        ({"queries/a.sql": "-- name: x\nselect to_regnamespace('hookd')"}, "write `hookd.` right before"),
        ({"functions/f.sql": "set search_path = Hookd, pg_temp"}, "functions/f.sql: 'Hookd' stays"),
        ({"functions/f.sql": "select x.hookd.t"}, "functions/f.sql: 'hookd' stays"),
        ({"migrations/0001_x.sql": "create table hookd . t ()"}, "migrations/0001_x.sql: 'hookd' stays"),
    ],
)
def test_contradictions_are_refused_at_load(files: dict[str, str], message: str) -> None:
    with pytest.raises(StatementError, match=message):
        Statements("hookd", files)


def test_checksums_do_not_depend_on_the_schema_and_see_every_change() -> None:
    files = {
        "migrations/0001_x.sql": "create table hookd.t ()",
        "functions/f.sql": "a",
        "functions/g.sql": "b",
    }
    one, two = Statements("hookd", files), Statements("cell", files)
    assert one.migrations[0].checksum == two.migrations[0].checksum
    assert one.functions_checksum == two.functions_checksum
    renamed = {**ONE, "functions/f.sql": "a", "functions/h.sql": "b"}
    moved = {**ONE, "functions/f.sql": "ab", "functions/g.sql": ""}
    assert len({Statements("hookd", f).functions_checksum for f in (files, renamed, moved)}) == 3
