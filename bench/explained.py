"""The plans of all that one call made Postgres run, nested statements included, by auto_explain."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench.postgres import Sql
from bench.report import CannotRun

Node = dict[str, Any]
FEW = frozenset({"publishing", "inbox_shard", "lease"})
"""Tables of few rows, however much is pending: settings, shards, claims under way. To read one is no scan."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A statement that a call ran, once or several times: its text, and its plan with what was counted."""

    statement: str
    plan: Node

    @property
    def touched(self) -> int:
        """Rows that were read from tables and indexes, whether they were wanted or not."""
        return sum(_touched(node) for node in _nodes(self.plan))

    @property
    def blocks(self) -> int:
        """Blocks of 8 kB that were looked at, in memory or not."""
        return int(self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"])

    @property
    def scans(self) -> list[str]:
        """Tables that were read from one end to the other."""
        return [
            node["Relation Name"]
            for node in _nodes(self.plan)
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in FEW
        ]

    def lines(self) -> list[str]:
        """Return the plan to read: a line a node, inner ones further in."""
        return list(_lines(self.plan, 0))


class Explainer:
    """Has the session say how it runs what it runs. Error: `CannotRun` without auto_explain."""

    def __init__(self, sql: Sql) -> None:
        self._said: list[Explained] = []
        try:
            sql.execute("load 'auto_explain'")
        except asyncpg.PostgresError as error:
            raise CannotRun(
                f"the server cannot load auto_explain ({error}): name one that has Postgres' contrib modules,"
                " and a superuser, with --database"
            ) from error
        sql.execute(_SETTINGS)
        sql.connection.add_log_listener(self._listen)

    def take(self) -> list[Explained]:
        """Return what was run since the last time and read a table, in the order in which it ended."""
        said, self._said = self._said, []
        return [one for one in said if any("Relation Name" in node for node in _nodes(one.plan))]

    def _listen(self, _: object, message: Any) -> None:
        head, _, document = message.message.partition("plan:\n")
        if head.startswith("duration:"):
            found = json.loads(document)
            self._said.append(Explained(" ".join(found["Query Text"].split()), found["Plan"]))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


def _touched(node: Node) -> int:
    """Return the rows that a scan read; a bitmap's were read where they were found, in its index."""
    kind, loops = node["Node Type"], node["Actual Loops"]
    if kind not in ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Tid Scan"):
        return 0
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    read: float = (node["Actual Rows"] + removed) * loops
    return round(read)


def _lines(node: Node, depth: int) -> Iterator[str]:
    where = " ".join(
        f"{word} {node[name]}"
        for word, name in (("using", "Index Name"), ("on", "Relation Name"), ("of", "CTE Name"))
        if name in node
    )
    condition = node.get("Index Cond") or node.get("TID Cond") or ""
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    counts = f"rows {node['Actual Rows'] * node['Actual Loops']:g}" + (
        f", removed {removed}" if removed else ""
    )
    blocks = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    kind = f"{node['Operation']} " if node["Node Type"] == "ModifyTable" else f"{node['Node Type']} "
    yield f"{'  ' * depth}{kind}{where} {condition}".rstrip() + f"  [{counts}; blocks {blocks}]"
    for inner in node.get("Plans", []):
        yield from _lines(inner, depth + 1)


_SETTINGS = """
set auto_explain.log_min_duration = 0;
set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on;
set auto_explain.log_buffers = on;
set auto_explain.log_timing = off;
set auto_explain.log_format = json;
set auto_explain.log_level = notice;
set client_min_messages = notice;
"""
