"""What is shipped is what stands in the source tree, and gets into the wheel."""

import fnmatch
import tomllib
from pathlib import Path

from daemon.cli.shipped import CONFIG, UNITS, shipped

ROOT = Path(__file__).parents[3]
DATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]


def test_each_file_is_a_link_to_where_it_is_maintained() -> None:
    assert shipped(CONFIG) == (ROOT / CONFIG).read_text()
    assert {path.name for path in (ROOT / "systemd").iterdir()} == set(UNITS)
    for name in UNITS:
        assert shipped(name) == (ROOT / "systemd" / name).read_text()
    assert all(path.is_symlink() for path in (ROOT / "daemon" / "shipped").iterdir())


def test_the_wheel_has_every_file_of_the_packages() -> None:
    """`make release` looks into a wheel; this says which line of pyproject.toml is missing."""
    left_out = []
    for path in (path for package in ("api", "daemon") for path in (ROOT / package).rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        package = ".".join(path.relative_to(ROOT).parent.parts)
        patterns = ["*.py", *DATA["*"], *DATA.get(package, [])]
        if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns):
            left_out.append(str(path.relative_to(ROOT)))
    assert not left_out, f"add to package-data in pyproject.toml what matches {left_out}"
