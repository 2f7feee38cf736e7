"""Logs on standard error: one line each, for people at a terminal or as JSON for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from daemon.process.journal import is_journal, with_priority

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, form: str, process: int | None = None) -> None:
    """Send hookd's logs to standard error. `form`: human, json, or auto (human on a terminal).

    `process`: the number of the daemon among several, which each line then carries.
    """
    # What the formatters do not tell need not be found out (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    human = form == "human" or (form == "auto" and sys.stderr.isatty())
    formatter = HumanFormatter(process) if human else JsonFormatter(process)
    handler.setFormatter(JournalFormatter(formatter) if is_journal() else formatter)
    root = logging.getLogger("hookd")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(level.upper())


# What the message says already.
SAID = frozenset({"method", "route", "status"})

_to_json = json.JSONEncoder(default=str).encode


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
