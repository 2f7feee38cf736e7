"""Priorities for systemd's journal: "<4>" before each line on standard error, as sd-daemon(3) has it."""

import logging
import os
from collections.abc import Mapping

_STDERR = 2
_PRIORITIES = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
    (logging.DEBUG, "<7>"),
)


def is_journal(environ: Mapping[str, str] = os.environ, descriptor: int = _STDERR) -> bool:
    """Tell whether what is written to `descriptor` goes to the journal: $JOURNAL_STREAM, systemd.exec(5)."""
    stream = environ.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def with_priority(level: int, text: str) -> str:
    """Return `text` with the priority of a `logging` level before each line, as the journal reads lines."""
    prefix = next((prefix for least, prefix in _PRIORITIES if level >= least), "<7>")
    return "\n".join(prefix + line for line in text.split("\n"))
