"""Processes: started, watched through /proc, and ended without leaving any behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.report import CannotRun

ROOT = Path(__file__).parents[1]
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of processor time of a process, and of those children of it that have ended."""

    parent: int
    own: float
    ended_children: float


def times(pid: int) -> Times:
    """Return the processor times of a process. Error: OSError if there is none."""
    # The second field, the program's name, may hold anything, blanks and brackets too.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, children_user, children_system = (int(one) / _TICK for one in fields[11:15])
    return Times(int(fields[1]), user + system, children_user + children_system)


def family_time(pid: int) -> float:
    """Return the processor time of a process and of all descendants that it has or had, in seconds."""
    found: dict[int, Times] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                found[int(name)] = times(int(name))
    family = {pid}
    while grown := {one for one in found if found[one].parent in family} - family:
        family |= grown
    return sum(found[one].own + found[one].ended_children for one in family if one in found)


def resident_memory(pid: int) -> int:
    """Return what a process has in memory now, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had in use, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def spawn(
    command: list[str], log: Path, *, environ: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start a process whose standard output is read by us and whose standard error goes to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        )


def first_line(process: "subprocess.Popen[str]", log: Path) -> str:
    """Return the line with which a process says that it is ready. Error: `CannotRun` if it ends without."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        end(process)
        said = log.read_text(errors="replace").strip()[-2000:]
        raise CannotRun(f"{' '.join(map(str, process.args[:4]))} … ended before it was ready: {said}")  # type: ignore[index]
    return line


def end(process: "subprocess.Popen[str]", seconds: float = 40.0) -> None:
    """SIGTERM, and SIGKILL if that does not help; returns when the process is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def wait_until(
    progress: Callable[[], int], least: int, *, period: float, patience: float, what: str
) -> float:
    """Return the moment at which `progress()` has reached `least`, looking every `period` seconds.

    Error: `CannotRun` if nothing moves for `patience` seconds.
    """
    best, moved = -1, time.monotonic()
    while True:
        reached = progress()
        now = time.monotonic()
        if reached >= least:
            return now
        if reached > best:
            best, moved = reached, now
        elif now - moved > patience:
            raise CannotRun(f"{what}: nothing moved for {patience:g} s at {reached} of {least}; see the logs")
        time.sleep(period)
