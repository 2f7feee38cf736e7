"""What ends a command, in words and as an exit code."""

import logging
import sys
from collections.abc import Iterator

from daemon.config.config_error import ConfigError
from daemon.explained_error import ExplainedError
from daemon.process.journal import is_journal, with_priority

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""As shells report a program that SIGINT (2) has ended: 128 + 2."""


class CommandError(ExplainedError):
    """The command cannot do what was asked; the text names the fault and says what to do."""


class UsageError(CommandError):
    """The arguments do not fit together; the exit code is then that of any other wrong usage."""


def complain(text: str, level: int = logging.ERROR) -> None:
    """Write one message to standard error, with the program's name before it."""
    line = f"hookd: {text}"
    print(with_priority(level, line) if is_journal() else line, file=sys.stderr)


def explained(error: BaseException) -> int | None:
    """Say on standard error why the command ends, and return the exit code.

    Returns None, having said nothing, for an error that nobody foresaw: its traceback is what helps then.
    """
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return INTERRUPTED
    if all(isinstance(cause, BrokenPipeError) for cause in causes):
        return FAILED  # whoever read the output has gone, and knows
    if not all(isinstance(cause, ExplainedError) for cause in causes):
        return None
    for cause in causes:
        for text in cause.problems if isinstance(cause, ConfigError) else [str(cause)]:
            complain(text)
    return USAGE if any(isinstance(cause, ConfigError | UsageError) for cause in causes) else FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
