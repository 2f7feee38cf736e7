"""config.toml is the model's mirror, and check-config shows what loads again."""

# Covers daemon.config.cautions and all of daemon.config.sections.

import argparse
import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.check_config import as_json, as_toml, run
from daemon.cli.parsers.check_config import add_parser
from daemon.config import sections
from daemon.config.load import all_keys, load
from daemon.config.masking import mask_url
from daemon.config.model import Config
from daemon.config.toml_text import key_lines, toml_key, toml_value

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config.toml"

SCALARS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def test_the_file_has_exactly_the_defaults() -> None:
    assert load(CONFIG, environ={}).config == Config()


def test_every_key_stands_in_the_file_and_no_other() -> None:
    data = tomllib.loads(CONFIG.read_text())
    assert {(section, key) for section, keys in data.items() for key in keys} == set(all_keys())
    assert set(load(CONFIG, environ={}).origins.values()).isdisjoint({"default"})


def test_every_key_of_the_file_has_one_comment() -> None:
    lines = CONFIG.read_text().splitlines()
    for key, line in key_lines(CONFIG.read_text()).items():
        if len(key) == 2:
            assert re.search(r"  # \S", lines[line - 1]), f"config.toml line {line}: {key} has no comment"


def test_the_files_example_of_an_override_loads(tmp_path: Path) -> None:
    text = CONFIG.read_text()
    example = re.findall(r"^ +#   (.*)$", text, re.MULTILINE)
    kept = [line for line in text.splitlines() if not line.startswith("override")]
    path = tmp_path / "config.toml"
    path.write_text("\n".join([*kept, *example]))
    (override,) = load(path, environ={}).config.hosts.override
    assert (override.match, override.rate, override.burst) == ("*.example.com", 10.0, None)


def test_every_key_of_the_model_is_described() -> None:
    for path in Path(sections.__file__).parent.glob("*.py"):
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        for section in classes if path.name != "base.py" else ():
            for position, statement in enumerate(section.body):
                if isinstance(statement, ast.AnnAssign):
                    following = section.body[position + 1]
                    assert isinstance(following, ast.Expr), f"{section.name}: line {statement.lineno}"
                    assert isinstance(following.value, ast.Constant)


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Config().api, "bind", "0.0.0.0:80")  # noqa: B010


def test_what_is_shown_as_toml_loads_again(tmp_path: Path) -> None:
    loaded = load(
        environ={"HOOKD_EVENTS__SCHEMAS": '{"match.accepted" = "/tmp/a b.json"}'},
        sets=['hosts.override=[{match="*.a.b", rate=0.5}]', "delivery.timeout=1.5", "state.directory=/ü\\"],
    )
    path = tmp_path / "shown.toml"
    path.write_text(as_toml(loaded))
    assert load(path, environ={}).config == loaded.config


def test_origins_stand_aligned_beside_their_values() -> None:
    shown = as_toml(load(CONFIG, environ={"HOOKD_API__MAX_BATCH": "3"})).splitlines()
    (batch,) = [line for line in shown if line.startswith("max_batch")]
    assert re.fullmatch(r"max_batch = 3 +# environment HOOKD_API__MAX_BATCH", batch)
    (bind,) = [line for line in shown if line.startswith("bind =") and "8080" in line]
    assert bind.index("#") == batch.index("#")


@pytest.mark.parametrize("as_text", [as_toml, as_json])
def test_the_databases_password_is_not_shown(as_text: object) -> None:
    loaded = load(environ={"HOOKD_DATABASE__URL": "postgresql://me:hunter2@db/x?sslmode=require"})
    shown = as_toml(loaded) if as_text is as_toml else as_json(loaded)
    assert "hunter2" not in shown
    assert "postgresql://me:***@db/x?sslmode=require" in shown


@given(st.text("abc:/@?#&=%", max_size=12).filter(lambda text: not text.startswith("/")))
def test_no_password_survives_masking(password: str) -> None:
    url = f"postgresql://user:SEC{password}RET@host:5432/db?sslmode=require&password=SEC&x=1"
    shown = mask_url(url)
    assert "SEC" not in shown
    assert "RET" not in shown
    assert shown.startswith("postgresql://user:***@")


def test_the_command_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--set", action="append")
    add_parser(parser.add_subparsers())
    assert (
        run(
            parser.parse_args(["--config", str(CONFIG), "--set", "api.max_batch=7", "check-config", "--json"])
        )
        == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["config"]["api"]["max_batch"] == 7
    assert shown["origins"]["api.max_batch"] == "--set"
    assert shown["file"] == str(CONFIG)


def test_the_command_tells_every_problem_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(
        config=None, set=["api.max_batch=0", "delivery.timeout=x"], json=False, quiet=False
    )
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" = ")[0] for line in err.splitlines()] == [
        "hookd: --set: api.max_batch",
        "hookd: --set: delivery.timeout",
    ]


@given(VALUES)
def test_a_value_written_as_toml_is_read_back(value: object) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}") == {"value": value}


@given(st.text())
def test_a_key_written_as_toml_is_read_back(key: str) -> None:
    assert tomllib.loads(f"{toml_key(key)} = 1") == {key: 1}


def test_lines_of_keys() -> None:
    text = """\
top = 1  # ]
"quoted.key" = '''
[not a header]
'''
[a]
list = [  # [[x]]
  "]",
  { b = 1 },
]
after = 1
x.y = 2
inline = { one = 1, two = { three = 3 } }

  [[a.b]]
c = 1
[a.b.d]
e = "}"
[[a.b]]
c = 2
"""
    assert key_lines(text) == {
        ("top",): 1,
        ("quoted.key",): 2,
        ("a",): 5,
        ("a", "list"): 6,
        ("a", "after"): 10,
        ("a", "x"): 11,
        ("a", "x", "y"): 11,
        ("a", "inline"): 12,
        ("a", "inline", "one"): 12,
        ("a", "inline", "two"): 12,
        ("a", "inline", "two", "three"): 12,
        ("a", "b"): 14,
        ("a", "b", 0): 14,
        ("a", "b", 0, "c"): 15,
        ("a", "b", 0, "d"): 16,
        ("a", "b", 0, "d", "e"): 17,
        ("a", "b", 1): 18,
        ("a", "b", 1, "c"): 19,
    }


def test_a_long_list_is_searched_in_no_time() -> None:
    text = "[egress]\nallow_networks = [\n" + '    "10.0.0.0/8",\n' * 20_000 + "]\nports = []\n"
    assert key_lines(text)["egress", "ports"] == 20_004
