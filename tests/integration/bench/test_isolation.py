"""The benchmarks of isolation: one runs, at a size at which its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.forked import HOOKD, ROOT


def test_a_fan_out_is_measured_and_written_down(tmp_path: Path, postgres_server: str) -> None:
    command = [sys.executable, "-m", "bench", "fan_out", "--runs", "1", "--size", "1500", "--receiver", "own"]
    done = subprocess.run(
        [*command, "--database", postgres_server, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=HOOKD.environ(),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "fan_out.json").read_text())
    assert set(found["subjects"]) == {"before", "fan-out", "drain"}
    (run,) = found["subjects"]["fan-out"]["runs"]
    assert run["queued_s"] > 0
    assert run["events"] > 0
