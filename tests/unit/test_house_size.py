"""No function, module or list of parameters grows beyond what a reader takes in at once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
LINES, PARAMETERS = 60, 8
IN_THE_QUEUE = ("daemon/delivery/", "daemon/store/")
LINES_THERE, PARAMETERS_THERE = 50, 7
MODULE, MEDIAN_MODULE = 400, 100


@dataclass(frozen=True)
class Function:
    name: str
    lines: int
    parameters: int


def modules() -> Iterator[Path]:
    for package in ("api", "daemon"):
        yield from (ROOT / package).rglob("*.py")


def functions(path: Path) -> Iterator[Function]:
    """Return those of a module; what a caller does not pass, self and trio's task_status, is no parameter."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            passed = [one for one in taken if one.arg not in ("self", "cls", "task_status")]
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(f"{path.relative_to(ROOT)}:{node.name}", lines, len(passed))


def beyond() -> set[str]:
    found = set()
    for path in modules():
        there = str(path.relative_to(ROOT)).startswith(IN_THE_QUEUE)
        lines, parameters = (LINES_THERE, PARAMETERS_THERE) if there else (LINES, PARAMETERS)
        found |= {one.name for one in functions(path) if one.lines > lines or one.parameters > parameters}
    return found


def test_functions_are_short_and_take_few_parameters() -> None:
    assert beyond() == set()


def test_modules_hold_one_idea_each() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert {name: count for name, count in lines.items() if count > MODULE} == {}
    assert median(count for name, count in lines.items() if not name.endswith("__init__.py")) <= MEDIAN_MODULE
