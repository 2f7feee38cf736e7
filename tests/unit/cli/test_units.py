import stat
from pathlib import Path

import pytest

from daemon.cli.main import invoke, parse
from daemon.cli.shipped import UNITS, shipped


def test_all_are_printed_each_after_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["units"]) == 0
    assert capsys.readouterr().out == "".join(f"# {name}\n{shipped(name)}" for name in UNITS)


def test_one_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["units", "hookd.sysusers.conf"]) == 0
    assert capsys.readouterr().out == shipped("hookd.sysusers.conf")


def test_they_are_written_for_everybody_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["units", "hookd.service", "hookd.socket", "--to", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hookd.service", "hookd.socket"]
    written = tmp_path / "hookd.service"
    assert written.read_text() == shipped("hookd.service")
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert capsys.readouterr().out == f"{written}\n{tmp_path / 'hookd.socket'}\n"


def test_a_directory_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    assert invoke(["units", "--to", str(missing)]) == 1
    assert f"cannot write {missing / 'hookd.service'} (No such file or directory)" in capsys.readouterr().err


def test_another_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["units", "../../etc/passwd"])
    assert caught.value.code == 2
    assert "name hookd.service, hookd.socket, hookd.sysusers.conf" in capsys.readouterr().err
