"""The project's own files agree with one another."""

import ast
import configparser
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from daemon.cli.failure import USAGE
from daemon.config.durations import parse_duration
from daemon.config.model import Config

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def canonical(requirement: str) -> str:
    """Return a package's normalised name (PEP 503)."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", LOCK, re.MULTILINE))


def test_every_direct_dependency_is_locked() -> None:
    project = PROJECT["project"]
    groups = [project["dependencies"], PROJECT["build-system"]["requires"]]
    groups += project["optional-dependencies"].values()
    assert {canonical(requirement) for group in groups for requirement in group} <= locked()


def test_what_the_code_imports_is_a_direct_dependency() -> None:
    declared = {canonical(requirement) for requirement in PROJECT["project"]["dependencies"]}
    declared |= {
        canonical(requirement) for requirement in PROJECT["project"]["optional-dependencies"]["embedded"]
    }
    packages = packages_distributions()
    for path in (*ROOT.glob("daemon/**/*.py"), *ROOT.glob("api/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in (
                {name.partition(".")[0] for name in names}
                - {"api", "daemon", "_typeshed"}  # the last one exists for type checkers alone
                - sys.stdlib_module_names
            ):
                owners = {canonical(owner) for owner in packages[name]}
                assert owners & declared, f"{path} imports {name}: add {owners} to pyproject.toml"


def test_everything_locked_has_a_hash() -> None:
    for entry in re.split(r"\n(?=[a-z0-9-]+==)", LOCK)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_names_no_place() -> None:
    assert not re.search(r"://|^-|/home/|/root|/opt|/tmp", LOCK, re.MULTILINE)


def test_every_package_has_its_layer() -> None:
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    parts = [
        path
        for path in (ROOT / "daemon").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    names = {f"daemon.{path.stem}" for path in parts if path.stem not in ("__init__", "__main__")}
    assert names <= layers


def unit(name: str) -> configparser.RawConfigParser:
    parsed = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(ROOT / "systemd" / name)
    return parsed


def test_systemd_waits_longer_than_a_stop_takes() -> None:
    service = unit("hookd.service")["Service"]
    assert parse_duration(service["TimeoutStopSec"]) > Config().daemon.stop_timeout
    assert service["Type"] == "notify"


def test_the_socket_listens_where_the_api_does() -> None:
    assert unit("hookd.socket")["Socket"]["ListenStream"] == Config().api.bind


def test_the_unit_runs_as_the_user_that_sysusers_makes() -> None:
    (line,) = [
        line
        for line in (ROOT / "systemd/hookd.sysusers.conf").read_text().splitlines()
        if line.startswith("u ")
    ]
    assert unit("hookd.service")["Service"]["User"] == line.split()[1]


def test_a_reload_checks_first_and_a_bad_configuration_is_not_started_again() -> None:
    lines = (ROOT / "systemd/hookd.service").read_text().splitlines()
    checked, told = [line.partition("=")[2] for line in lines if line.startswith("ExecReload=")]
    started = unit("hookd.service")["Service"]["ExecStart"]
    assert checked == started.removesuffix("run") + "check-config --quiet"
    assert told == "/bin/kill -HUP $MAINPID"
    assert unit("hookd.service")["Service"]["RestartPreventExitStatus"] == str(USAGE)


def test_the_unit_may_not_write_its_configuration_and_leaves_no_core() -> None:
    service = unit("hookd.service")["Service"]
    assert "ConfigurationDirectory" not in service
    assert service["ProtectSystem"] == "strict"
    assert service["LimitCORE"] == "0"
