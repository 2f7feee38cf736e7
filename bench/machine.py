"""What the figures were measured on, and with."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from daemon.process.version import VERSION

LIBRARIES = ("asyncpg", "httptools", "httpx", "trio")
ROOT = Path(__file__).parents[1]


def machine() -> dict[str, str | int | float]:
    """Return the machine: processor, cores that may be used, memory, kernel, and how busy it is now."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_at_end": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """Return the commit that is measured, with a "+" if files were changed since; "" outside of git."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions of hookd, Python and the libraries that matter here."""
    return {
        "hookd": VERSION,
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def _field(path: str, name: str) -> str:
    """Return the first value of a "name : value" line of a file in /proc, or ""."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
