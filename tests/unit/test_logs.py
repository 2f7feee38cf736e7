"""Log lines: for people, for machines, and with priorities for the journal."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.process.journal import is_journal, with_priority
from daemon.process.logs import HumanFormatter, JournalFormatter, JsonFormatter

ROOT = Path(__file__).parents[2]


def record(level: int, message: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("hookd", level, "", 0, message, (), info)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("CRITICAL", "<2>"), ("ERROR", "<3>"), ("WARNING", "<4>"), ("INFO", "<6>"), ("DEBUG", "<7>")],
)
def test_each_level_has_its_priority(level: str, prefix: str) -> None:
    number = getattr(logging, level)
    line = JournalFormatter(JsonFormatter()).format(record(number, "a line"))
    assert line[:3] == prefix
    assert json.loads(line[3:])["level"] == level.lower()


def test_each_line_of_a_traceback_has_the_priority() -> None:
    shown = JournalFormatter(HumanFormatter()).format(record(logging.ERROR, "it failed", ValueError("a\nb")))
    lines = shown.split("\n")
    assert len(lines) == 3
    assert all(line.startswith("<3>") for line in lines)


def test_a_line_break_in_a_message_begins_no_line_of_another_priority() -> None:
    assert with_priority(logging.WARNING, "a\r<7>b\n<7>c") == "<4>a\r<7>b\n<4><7>c"


def test_the_journal_is_told_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        ours = f"{status.st_dev}:{status.st_ino}"
        for told, expected in ((ours, True), (f"{ours}0", False), ("nonsense", False), ("", False)):
            assert is_journal({"JOURNAL_STREAM": told}, stream.fileno()) is expected
        assert not is_journal({}, stream.fileno())
    assert not is_journal({"JOURNAL_STREAM": "1:1"}, 10_000)


@pytest.mark.parametrize("command", [["check-config"], ["run"]])
def test_a_start_that_is_refused_is_an_error_in_the_journal(tmp_path: Path, command: list[str]) -> None:
    program = [sys.executable, "-m", "daemon.cli", "--set", "api.max_batch=0", "--set", "nonsense", *command]
    with (tmp_path / "journal").open("wb") as stream:
        status = os.fstat(stream.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        ended = subprocess.run(program, stderr=stream, env=environ, cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == 2
    assert [line[:10] for line in (tmp_path / "journal").read_text().splitlines()] == ["<3>hookd: "] * 2
