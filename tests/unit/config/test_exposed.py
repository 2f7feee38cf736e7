"""Secrets that stand where others can read them are told, with the line that mends it."""

from pathlib import Path

import pytest

from daemon.config.exposed import exposed
from daemon.config.load import ConfigError, load

URL = "postgresql://me:hunter2@db/x"


def write(tmp_path: Path, mode: int, url: str = URL) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[database]\nurl = "{url}"\n')
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "mended"), [(0o644, "640"), (0o666, "660"), (0o604, "600")])
def test_a_password_in_a_file_that_everybody_reads(tmp_path: Path, mode: int, mended: str) -> None:
    path = write(tmp_path, mode)
    (said,) = exposed(load(path, environ={}))
    assert said.startswith(f"{path} line 2: database.url holds a password")
    assert f"(mode {mode:04o}): chmod {mended} {path}, or put the password into" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("parameter", ["password", "sslpassword"])
def test_a_password_behind_the_question_mark(tmp_path: Path, parameter: str) -> None:
    path = write(tmp_path, 0o644, f"postgresql://me@db/x?{parameter}=hunter2")
    assert len(exposed(load(path, environ={}))) == 1


def test_what_others_cannot_read_is_not_told(tmp_path: Path) -> None:
    assert exposed(load(write(tmp_path, 0o640), environ={})) == []
    assert exposed(load(write(tmp_path, 0o644, "postgresql://me@db/x"), environ={})) == []
    path = write(tmp_path, 0o644, "")
    assert exposed(load(path, environ={"HOOKD_DATABASE__URL": URL})) == []


def test_a_password_on_the_command_line() -> None:
    (said,) = exposed(load(environ={}, sets=[f"database.url={URL}"]))
    assert "shows in the list of processes" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("url", ["", URL])
def test_a_password_file_goes_with_a_url_that_has_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.password_file = ") as caught:
        load(environ={}, sets=[f"database.url={url}", "database.password_file=/run/x"])
    assert "hunter2" not in str(caught.value)
