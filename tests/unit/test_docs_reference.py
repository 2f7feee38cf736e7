"""The pages of docs/reference/ tell what the code has: no more, and no less."""

import ast
import re
from pathlib import Path

import pytest

from api import problems
from api.pending_reason import Reason
from daemon.egress.errors import CODES
from tools.reference import REFERENCE, pages

ROOT = Path(__file__).parents[2]
ERRORS = (REFERENCE / "errors.md").read_text()
_FIRST_CELL = re.compile(r"^\| ([^|]*) \|", re.MULTILINE)
_KIND = re.compile(r"[a-z]+(?:-[a-z]+)+")


def told(heading: str) -> set[str]:
    """Return what stands in the first column of the table below a heading."""
    section = ERRORS.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = _FIRST_CELL.findall(section)[1:]
    return {name for cell in rows for name in re.findall(r"`([\w-]+)`", cell)}


def texts(node: ast.AST) -> set[str]:
    """Return the texts that stand in a piece of code."""
    constants = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def kinds() -> set[str]:
    """Return the kinds of all problems that the API's code makes."""
    found = {kind for kind, _ in problems._HTTP.values()} | {"http-error"}
    for path in ROOT.glob("api/**/*.py"):
        if "reference" in path.parts:
            continue  # examples of the OpenAPI document
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Problem"), args=[_, kind, *_]):
                    found |= texts(kind)
                case ast.Assign(targets=[ast.Name(id="kind")], value=value):
                    found |= {text for text in texts(value) if _KIND.fullmatch(text)}
    return found


@pytest.mark.parametrize("name", pages())
def test_the_page_is_what_the_code_says(name: str) -> None:
    text = (REFERENCE / name).read_text()
    assert text == pages()[name], "run `.venv/bin/python -m tools.reference`"


def test_every_problem_of_the_api_is_told() -> None:
    assert told("Of the API") == kinds()


def test_every_error_of_an_attempt_is_told() -> None:
    assert told("Of an attempt") == CODES


def test_every_reason_of_waiting_is_told() -> None:
    assert told("What a delivery waits for") == set(Reason)
