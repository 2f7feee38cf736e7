"""What a plan says is added up right."""

from typing import Any

from bench.explained import Explained


def node(kind: str, rows: float = 0, loops: int = 1, **more: Any) -> dict[str, Any]:
    shown = {name.replace("_", " "): value for name, value in more.items()}
    return {
        "Node Type": kind,
        "Actual Rows": rows,
        "Actual Loops": loops,
        "Shared Hit Blocks": 3,
        "Shared Read Blocks": 1,
        **shown,
    }


PLAN = node(
    "Nested Loop",
    5,
    Plans=[
        node("Index Scan", 2, 5, Index_Name="delivery_due", Relation_Name="delivery", Index_Cond="(x)"),
        node("Seq Scan", 1, 2, Relation_Name="subscription", Rows_Removed_by_Filter=9),
        node("Seq Scan", 1, Relation_Name="publishing"),
        node("Function Scan", 100),
    ],
)


def test_rows_are_counted_where_they_are_read_wanted_or_not() -> None:
    assert Explained("", PLAN).touched == 2 * 5 + (1 + 9) * 2 + 1


def test_blocks_are_those_of_the_outermost_node() -> None:
    assert Explained("", PLAN).blocks == 4


def test_a_scan_is_one_of_a_table_that_grows() -> None:
    assert Explained("", PLAN).scans == ["subscription"]


def test_a_line_says_what_is_read_by_what() -> None:
    lines = Explained("", PLAN).lines()
    assert lines[1] == "  Index Scan using delivery_due on delivery (x)  [rows 10; blocks 4]"
    assert lines[2] == "  Seq Scan on subscription  [rows 2, removed 9; blocks 4]"
