"""hookd as it was at an earlier commit, in a clone and an environment of its own, to compare with."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import ROOT
from bench.report import CannotRun


def earlier(commit: str) -> Path:
    """Return a checkout of `commit` with its `.venv`, made at the first call and kept for others.

    It is kept in $XDG_CACHE_HOME/hookd-bench, or ~/.cache/hookd-bench. Error: `CannotRun`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hookd-bench"
    checkout = cache / commit
    cache.mkdir(parents=True, exist_ok=True)
    if not checkout.exists():
        with TemporaryDirectory(dir=cache) as place:
            made = str(Path(place) / "clone")
            _run("git", "clone", "--quiet", "--no-checkout", str(ROOT), made)
            _run("git", "-C", made, "checkout", "--quiet", "--detach", commit)
            # Under its final name only when it is whole, and before the environment, which knows its path.
            os.rename(made, checkout)
    _run("bash", str(checkout / "tools" / "setup.sh"))
    return checkout


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
