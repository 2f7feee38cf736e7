# Covers daemon.cli.arguments, daemon.cli.help_text and all of daemon.cli.parsers.

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli.main import build_parser, command, parse

ORG = "018f6d1e-6a00-7000-8000-000000000001"
HEAVY = {
    *("asyncio", "asyncpg", "cryptography", "dns", "h11", "httptools", "httpx", "hypercorn", "jinja2"),
    *("jsonschema_rs", "jwt", "prometheus_client", "pydantic", "quart", "trio", "werkzeug"),
}
"""Packages that take more of a start than a command without a daemon may."""
LOADED = """
import atexit, sys
from daemon.cli.main import main
atexit.register(lambda: print("\\n", *{name.partition(".")[0] for name in sys.modules}))
main()
"""
"""The command, which at its end prints a line with what it has imported."""
NEEDED = {
    "config": ["default"],
    "token": ["--org", ORG, "--role", "publisher"],
    "publish": ["--org", ORG, "-"],
}


def commands() -> dict[str, argparse.ArgumentParser]:
    [action] = [item for item in build_parser()._actions if isinstance(item, argparse._SubParsersAction)]
    return dict(action.choices)


def helps() -> Iterator[tuple[str, str]]:
    yield "hookd", build_parser().format_help()
    for name, parser in commands().items():
        yield name, parser.format_help()


@pytest.mark.parametrize("columns", ["80", "200"])
def test_no_line_of_any_help_is_wider_than_80_columns(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    wide = [(name, line) for name, text in helps() for line in text.splitlines() if len(line) > 80]
    assert wide == []


@pytest.mark.parametrize(("name", "text"), list(helps()))
def test_every_help_tells_the_exit_codes_and_the_shared_options(name: str, text: str) -> None:
    assert "Exit codes:" in text
    assert "--config PATH" in text
    assert "--set SECTION.KEY=VALUE" in text


@pytest.mark.parametrize("name", sorted(commands().keys() - {"check-config"}))
def test_the_examples_in_a_help_are_valid(name: str) -> None:
    section = commands()[name].format_help().partition("Examples:\n")[2].partition("\n\n")[0]
    examples = [line.strip() for line in section.splitlines() if line.startswith("  hookd ")]
    assert examples
    for example in examples:
        words = shlex.split(example.partition("   ")[0].replace("$ORG", ORG))
        assert parse(words[1:]).command == name


@pytest.mark.parametrize("name", sorted(commands()))
def test_shared_options_count_before_and_after_the_command(name: str) -> None:
    after = parse([name, *NEEDED.get(name, []), "--config", "a.toml", "--set", "x.y=1", "--set", "x.z=2"])
    assert (after.config, after.set) == ("a.toml", ["x.y=1", "x.z=2"])
    before = parse(["--set", "x.y=1", "--config", "a.toml", name, *NEEDED.get(name, []), "--set", "x.z=2"])
    assert (before.config, before.set) == ("a.toml", ["x.y=1", "x.z=2"])


def imported(*words: str) -> set[str]:
    """Return which packages of `HEAVY` a fresh interpreter has imported when the command ends."""
    run = [sys.executable, "-c", LOADED, *words]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
    return HEAVY & set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [[], *([name] for name in sorted(commands()))], ids=str)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    assert imported(*words, "--help") == set()


def test_a_command_without_a_daemon_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    state = f"state.directory={tmp_path}"
    made = imported("--set", state, "token", *NEEDED["token"])
    assert made == {"cryptography", "jwt", "pydantic"}
    assert imported("--set", state, "check-config") == {"cryptography", "pydantic"}
    assert imported("config", "default") == imported("units") == set()


@pytest.mark.parametrize("name", sorted(commands()))
def test_each_command_has_something_to_run(name: str) -> None:
    assert command(name).__module__ == f"daemon.cli.{name.replace('-', '_')}"


def test_two_commands_do_not_share_what_was_set() -> None:
    parse(["run", "--set", "x.y=1"])
    assert parse(["run"]).set == []


@pytest.mark.parametrize(
    "words", [[], ["no-such-command"], ["token"], ["token", "--org", "x"], ["run", "--x"]]
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 2
    assert "usage: hookd" in capsys.readouterr().err
