"""SQL is called by name: functions' arguments in statements, and statements in code."""

import re
from pathlib import Path

from daemon.store.statements import installed_files, load

ROOT = Path(__file__).parents[2]
FUNCTION = re.compile(r"create or replace function hookd\.(\w+)\(")
CALL = re.compile(r"hookd\.(\w+)\(([^()]*)\)")
BY_POSITION = 3
"""Arguments that need no names."""
OUR_OWN = "{results}"
"""Stands for the named arguments that `daemon.store.results` makes."""


def parameters() -> dict[str, set[str]]:
    """Return the names of each function's parameters."""
    found: dict[str, set[str]] = {}
    for path, text in installed_files().items():
        if path.startswith("functions/"):
            code = re.sub(r"--[^\n]*", "", text)
            for function in FUNCTION.finditer(code):
                head = code[function.end() : code.index("language", function.end())]
                found.setdefault(function[1], set()).update(re.findall(r"\b(\w+) [\w.]+", head))
    return found


def test_arguments_have_names_where_there_are_several() -> None:
    known = parameters()
    unnamed, unknown = [], []
    for name, statement in load("hookd").items():
        for function, listed in CALL.findall(statement.replace(f", {OUR_OWN}", "")):
            given = [one.strip() for one in listed.split(",") if one.strip()]
            names = [one.partition(" => ")[0] for one in given if " => " in one]
            if len(given) > BY_POSITION and len(names) < len(given):
                unnamed.append(f"{name}: {function}")
            unknown += [f"{name}: {function} has no {one}" for one in names if one not in known[function]]
    assert (unnamed, unknown) == ([], [])


def test_no_statement_is_left_over() -> None:
    code = "".join(path.read_text() for path in (ROOT / "daemon").rglob("*.py"))
    assert [name for name in load("hookd") if f'"{name}"' not in code] == []
