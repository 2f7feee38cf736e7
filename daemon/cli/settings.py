"""From a command's arguments to the configuration."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from daemon.config.load import Loaded, load
from daemon.config.model import LoggingConfig
from daemon.process import logs


def load_settings(args: argparse.Namespace, first: Sequence[str] = (), last: Sequence[str] = ()) -> Loaded:
    """Return the configuration that `--config` and `--set` lead to. Error: `ConfigError`.

    `first` and `last` are settings of the command itself, in the form of `--set`: `--set` overrules the one,
    and the other overrules `--set`.
    """
    return load(Path(args.config) if args.config else None, sets=[*first, *args.set, *last])


def log_for_people(logging: LoggingConfig, level: str = "") -> None:
    """Log on standard error as a command does that a person runs: as text, unless JSON is asked for."""
    logs.configure(level or logging.level, "human" if logging.format == "auto" else logging.format)
