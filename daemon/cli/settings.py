"""From a command's arguments to the configuration."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from daemon.config.cautions import cautions
from daemon.config.load import HERE, INSTALLED, Loaded, load
from daemon.config.sections.logging import LoggingConfig
from daemon.process import logs

logger = logging.getLogger("hookd.config")


def load_settings(
    args: argparse.Namespace, first: Sequence[str] = (), last: Sequence[str] = (), *, here: bool = False
) -> Loaded:
    """Return the configuration that `--config` and `--set` lead to. Error: `ConfigError`.

    `first` and `last` are settings of the command itself, in the form of `--set`: `--set` overrules the one,
    and the other overrules `--set`. `here`: without `--config`, ./config.toml is taken.
    """
    return load(Path(args.config) if args.config else None, sets=[*first, *args.set, *last], here=here)


def file_taken(loaded: Loaded) -> str:
    """Return which file the configuration is from, for people, and which one is not read."""
    if loaded.path is not None:
        return str(loaded.path)
    try:
        beside = f" (./{HERE} is for `hookd dev`; to use it, add --config {HERE})" if HERE.exists() else ""
    except OSError:  # a directory that may not be looked into
        beside = ""
    return f"the defaults, as there is no {INSTALLED}{beside}"


def log_source(loaded: Loaded) -> None:
    """Log where the configuration is from, and what it gives away."""
    logger.info("configuration: %s", file_taken(loaded))
    for warning in cautions(loaded):
        logger.warning("%s", warning)


def log_for_people(config: LoggingConfig, level: str = "") -> None:
    """Log on standard error as a command does that a person runs: as text, unless JSON is asked for."""
    logs.configure(level or config.level, "human" if config.format == "auto" else config.format)
