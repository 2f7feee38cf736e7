"""Log lines: for people, for machines, and with priorities for the journal."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.delivery.attempt_logging import log_attempt
from daemon.process.journal import is_journal, with_priority
from daemon.process.logs import FoldingHandler, HumanFormatter, JournalFormatter, JsonFormatter
from tests.support.forked import HOOKD
from tests.unit.delivery.test_attempt_logging import result

ROOT = Path(__file__).parents[3]


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
        environ = {**HOOKD.environ(), "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        ended = subprocess.run(program, stderr=stream, env=environ, cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == 2
    assert [line[:10] for line in (tmp_path / "journal").read_text().splitlines()] == ["<3>hookd: "] * 2


class Lines(FoldingHandler):
    """A handler of hookd's logger with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.text = io.StringIO()
        super().__init__(self.text, lambda: self.now)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("hookd")
    monkeypatch.setattr(logger, "handlers", [handler])
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)


def test_ten_thousand_failed_attempts_a_minute_are_a_few_lines(lines: Lines) -> None:
    for number in range(10_000):
        lines.now = number * 0.005
        host = "b:443" if number == 9_000 else "a:443"
        log_attempt(result("retry", error="connect_refused", delay=5.0), host, "Nobody listens.")
    lines.now = 60.0
    lines.tell_folded(all_of_them=False)
    assert lines.text.getvalue().splitlines() == [
        *["attempt 1 to a:443: connect_refused (Nobody listens.), next attempt in 5.0s"] * 3,
        "attempt 1 to b:443: connect_refused (Nobody listens.), next attempt in 5.0s",
        "… and 9,996 more attempts to a:443: connect_refused",
    ]


def test_what_is_folded_at_the_end_is_told(lines: Lines) -> None:
    for _ in range(5):
        log_attempt(result("given_up", error="timeout", reason="exhausted"), "a:443", None)
    lines.tell_folded(all_of_them=True)
    assert lines.text.getvalue().splitlines()[3:] == [
        "… and 2 more deliveries to a:443 given up (exhausted): timeout"
    ]


def test_what_is_folded_has_level_logger_and_number(lines: Lines) -> None:
    lines.setFormatter(JsonFormatter())
    for _ in range(4):
        logging.getLogger("hookd.x").error("a line", extra={"repeats_as": "lines"})
    lines.tell_folded(all_of_them=True)
    entries = [json.loads(line) for line in lines.text.getvalue().splitlines()]
    assert [one["level"] for one in entries] == ["error"] * 4
    assert (entries[-1]["logger"], entries[-1]["folded"]) == ("hookd.x", 1)
    assert all("repeats_as" not in one for one in entries)


def test_at_level_debug_nothing_is_folded(lines: Lines) -> None:
    logging.getLogger("hookd").setLevel(logging.DEBUG)
    for _ in range(20):
        log_attempt(result("retry", error="timeout", delay=5.0), "a:443", None)
    assert len(lines.text.getvalue().splitlines()) == 20


def test_lines_that_do_not_repeat_by_outside_cause_are_all_written(lines: Lines) -> None:
    for _ in range(20):
        logging.getLogger("hookd").warning("reloaded")
    assert lines.text.getvalue().count("reloaded") == 20
