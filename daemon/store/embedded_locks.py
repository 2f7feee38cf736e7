"""Locks between processes that the kernel drops with their holders: flock(2), with a bounded wait."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 180.0
"""How long to wait for another process that makes, starts or stops a server."""


class LockTimeout(Exception):
    """Another process held the lock for longer than `LOCK_SECONDS`."""


def open_lock(path: Path) -> int:
    """Return a file descriptor of the lock file `path`, not yet locked and not inherited."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    """Lock the file for this descriptor alone, if nobody else has; tell whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share_lock(descriptor: int) -> None:
    """Lock the file together with others. Only for a file that is locked alone under another lock we hold."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` alone for the block. Error: `LockTimeout`."""
    descriptor = open_lock(path)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise LockTimeout(
                    f"another process has had {path} locked for {LOCK_SECONDS:.0f} s: find it with"
                    f" 'fuser {path}' and end it"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
