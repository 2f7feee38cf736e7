"""The benchmarks of latency, rest and memory: how they count; one runs, and its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.idle import statements
from bench.latency import figures, percentile
from bench.publishers import Published
from tests.support.forked import HOOKD, ROOT


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 0.99) == 198
    assert percentile([7.0], 0.99) == 7


def test_at_rest_time_runs_from_the_call_and_under_load_from_the_plan() -> None:
    published = [Published(0.0, 0.0, 0.001), Published(1.0, 1.5, 1.501)]
    came = [0.002, 1.51]
    assert figures(published, came, scheduled=False)["median_ms"] == pytest.approx(10)
    assert figures(published, came, scheduled=True)["median_ms"] == pytest.approx(510)
    assert figures(published, came, scheduled=True)["first_ms"] == pytest.approx(2)


def test_statements_are_counted_in_a_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(
        "2026-11-24 03:00:00.000 UTC [7] LOG:  statement: old\n"
        "2026-11-24 03:00:00.000 UTC [7] LOG:  execute __asyncpg_stmt_1__: select 1\n"
        "2026-11-24 03:00:00.000 UTC [7] LOG:  execute __asyncpg_stmt_1__: -- why\n\tselect 2\n"
        "2026-11-24 03:00:00.000 UTC [7] LOG:  statement: BEGIN;\n"
        "2026-11-24 03:00:00.000 UTC [7] LOG:  execute __asyncpg_stmt_1__: select 1\n"
    )
    first = len(log.read_text().splitlines()[0]) + 1
    assert statements(log, first) == {"select 1": 2, "select 2": 1, "BEGIN;": 1}


def test_memory_is_measured_and_written_down(tmp_path: Path, postgres_server: str) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "memory",
        "--runs",
        "1",
        "--size",
        "400",
        "--database",
        postgres_server,
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=HOOKD.environ()
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads((tmp_path / "memory.json").read_text())["subjects"]["hookd"]["runs"]
    assert run["in_flight"] == 51
    assert run["pending"] > 51
    assert run["peak_mib"] >= run["holding_mib"] > run["at_start_mib"] / 2
