"""Logs on standard error: one line each, for people at a terminal or as JSON for machines."""

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import NamedTuple, TextIO

from daemon.process.folding import Folding
from daemon.process.journal import is_journal, with_priority

REPEATS_AS = "repeats_as"
"""What a record's `extra` calls the kind of lines that it may be one of thousands of: they are folded."""
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", REPEATS_AS}


def configure(level: str, form: str, process: int | None = None) -> None:
    """Send hookd's logs to standard error. `form`: human, json, or auto (human on a terminal).

    `process`: the number of the daemon among several, which each line then carries.
    """
    # What the formatters do not tell need not be found out (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = FoldingHandler(sys.stderr)
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    formatter = HumanFormatter(process) if human else JsonFormatter(process)
    handler.setFormatter(JournalFormatter(formatter) if is_journal() else formatter)
    root = logging.getLogger("hookd")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


def tell_folded(*, all_of_them: bool = False) -> None:
    """Write what has been folded for a minute; `all_of_them`: whatever has not been told yet, for the end."""
    for handler in logging.getLogger("hookd").handlers:
        if isinstance(handler, FoldingHandler):
            handler.tell_folded(all_of_them=all_of_them)


# What the message says already.
SAID = frozenset({"method", "route", "status", "folded"})

_to_json = json.JSONEncoder(default=str).encode


class FoldingHandler(logging.StreamHandler[TextIO]):
    """Writes of the records that repeat the first few, and then their number; at level debug, all of them."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._folding = Folding(_RepeatedLines(logging.WARNING, "hookd", "lines of other kinds"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record or count it, and before that what is due."""
        now = self._clock()
        self._write(self._folding.due(now))
        what: str = vars(record).get(REPEATS_AS, "")
        is_folded = what and not logging.getLogger("hookd").isEnabledFor(logging.DEBUG)
        if not is_folded or self._folding.is_written(_RepeatedLines(record.levelno, record.name, what), now):
            super().emit(record)

    def tell_folded(self, *, all_of_them: bool) -> None:
        """Write what is due, or all that is counted."""
        with self.lock or nullcontext():
            self._write(self._folding.rest() if all_of_them else self._folding.due(self._clock()))

    def _write(self, counted: list[tuple["_RepeatedLines", int]]) -> None:
        for kind, count in counted:
            message = f"… and {count:,} more {kind.what}"
            record = logging.LogRecord(kind.logger, kind.level, "", 0, message, (), None)
            record.folded = count
            super().emit(record)


class _RepeatedLines(NamedTuple):
    level: int
    logger: str
    what: str


class HumanFormatter(logging.Formatter):
    """Time, level, message, then what else the record tells as key=value."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        more = {key: value for key, value in extras(record).items() if key not in SAID and value is not None}
        extra = "".join(f" {key}={value}" for key, value in more.items())
        line = f"{time} {record.levelname.lower():<7} {self._process}{record.getMessage()}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object: time (UTC), level, logger, message, what else the record tells, error."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._process,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return _to_json(entry)


class JournalFormatter(logging.Formatter):
    """What another formatter makes of the record, each line with its priority for the journal."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        return with_priority(record.levelno, self._inner.format(record))


def extras(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller passed as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in STANDARD}
