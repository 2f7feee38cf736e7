# Covers daemon.explained_error.

import os
import subprocess
import sys

import pytest

from daemon.cli import main, run
from daemon.cli.failure import CommandError, UsageError, explained
from daemon.config.config_error import ConfigError
from daemon.process.state import StartError
from daemon.store.failure import DatabaseUnavailable
from tests.support.forked import HOOKD


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("do that"), 1, "hookd: do that\n"),
        (StartError("do that"), 1, "hookd: do that\n"),
        (DatabaseUnavailable("away"), 1, "hookd: away\n"),
        (UsageError("give one"), 2, "hookd: give one\n"),
        (ConfigError(["a is bad", "b is bad"]), 2, "hookd: a is bad\nhookd: b is bad\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_each_end_has_its_code_and_words(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nested = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])
    assert explained(error) == explained(nested) == code
    assert capsys.readouterr().err == said * 2


def test_what_nobody_foresaw_is_not_explained_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(ExceptionGroup("both", [CommandError("known"), ZeroDivisionError()])) is None
    assert capsys.readouterr().err == ""


def test_an_unforeseen_error_comes_out_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main.invoke(["run"])


def test_a_reader_that_has_gone_ends_a_command_without_a_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from daemon.cli.main import main; main()", "check-config"]
    with open(writing, "wb") as out:
        ended = subprocess.run(
            command, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False, env=HOOKD.environ()
        )
    assert ended.stderr == b""
    assert ended.returncode == 1
