import re
from uuid import uuid4

import pytest

from daemon.model import LaneEffect, Outcome
from daemon.store.results import COLUMNS, Result, record_arguments, record_statement
from daemon.store.statements import installed_files, load

NO_COLUMNS = {"p_done", "p_disable_after"}


def good(**more: object) -> Result:
    usual = {"lane": LaneEffect.ANSWERED_WELL, "host_failed": False}
    return Result(uuid4(), uuid4(), uuid4(), 1, uuid4(), "t", 1, Outcome.SUCCEEDED, **{**usual, **more})  # type: ignore[arg-type]


def named(results: list[Result]) -> dict[str, object]:
    """Return the arguments by the name that the statement gives them."""
    numbers = re.findall(r"(p_\w+) => \$(\d+)", record_statement(load("hookd")["record"]))
    arguments = record_arguments(results, [], 60.0)
    return {name: arguments[int(number) - 1] for name, number in numbers}


def test_the_columns_are_all_arguments_of_record() -> None:
    text = installed_files()["functions/60_record.sql"]
    [head] = re.findall(r"function hookd\.record\((.*?)out counted", text, re.DOTALL)
    taken = set(re.findall(r"\bp_\w+", head))
    assert {column.argument for column in COLUMNS.values()} | NO_COLUMNS == taken
    assert named([]).keys() == taken


def test_what_all_results_share_is_passed_once_and_what_is_usual_not_at_all() -> None:
    arguments = named([good(), good()])
    assert (
        arguments["p_outcomes"] is None
        and arguments["p_lanes"] is None
        and arguments["p_host_failed"] is None
    )
    assert arguments["p_types"] == ["t"] and arguments["p_errors"] is None
    assert len(arguments["p_deliveries"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("lane", [LaneEffect.UNANSWERED, LaneEffect.NEUTRAL])
def test_an_unusual_lane_is_told_of_also_where_all_succeeded(lane: LaneEffect) -> None:
    assert named([good(), good(lane=lane)])["p_lanes"] == [LaneEffect.ANSWERED_WELL, lane]
