"""From a command's arguments to the configuration."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from daemon.config.load import Loaded, load


def load_settings(args: argparse.Namespace, first: Sequence[str] = (), last: Sequence[str] = ()) -> Loaded:
    """Return the configuration that `--config` and `--set` lead to. Error: `ConfigError`.

    `first` and `last` are settings of the command itself, in the form of `--set`: `--set` overrules the one,
    and the other overrules `--set`.
    """
    return load(Path(args.config) if args.config else None, sets=[*first, *args.set, *last])
