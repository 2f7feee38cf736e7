import tomllib

import pytest

from daemon.cli.main import invoke
from daemon.config.load import load


def test_the_default_is_printed_and_is_what_hookd_starts_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "default"]) == 0
    printed = tomllib.loads(capsys.readouterr().out)
    defaults = load(None, environ={}).config.model_dump(mode="json", exclude_none=True)
    assert set(printed) == set(defaults)
    assert printed["api"]["bind"] == defaults["api"]["bind"]
