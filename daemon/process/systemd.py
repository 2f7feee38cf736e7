"""What systemd is told: sd_notify(3) over the socket that it names, or nothing where there is none.

A supervisor of our own is told the same, over a file descriptor that it names instead (`fd:7`).
"""

import os
import socket
from contextlib import suppress

import trio

READY = "READY=1"
WATCHDOG_VARIABLES = ("WATCHDOG_PID", "WATCHDOG_USEC")
DESCRIPTOR = "fd:"


def notify(*assignments: str) -> None:
    """Send `READY=1`, `STOPPING=1`, `STATUS=…` and the like; where nobody listens, nothing happens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    message = "\n".join(assignments).encode()
    if path.startswith(DESCRIPTOR):
        with suppress(OSError):
            os.write(int(path.removeprefix(DESCRIPTOR)), message)
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto(message, address)


def watchdog_period() -> float | None:
    """Return the seconds within which systemd wants a sign of life (WatchdogSec), None if it wants none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() and int(microseconds) else None


async def serve_watchdog(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Tell systemd, twice as often as it wants to hear it, that the loop turns."""
    task_status.started()
    period = watchdog_period()
    while period is not None:
        notify("WATCHDOG=1")
        await trio.sleep(period / 2)
