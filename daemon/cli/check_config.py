"""`hookd check-config`: the effective configuration with its origins, or everything that is wrong."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from daemon.cli.failure import OK, USAGE, complain
from daemon.cli.settings import file_taken, load_settings
from daemon.config.cautions import cautions
from daemon.config.load import ConfigError, Loaded, Refused
from daemon.config.masking import masked
from daemon.config.toml_text import toml_value
from daemon.process.named_files import file_problems

_WIDEST_VALUE = 60


def run(args: argparse.Namespace) -> int:
    """Print the configuration that `args.config` and `args.set` lead to; return the exit code."""
    unseen: list[Path] = []
    try:
        loaded = load_settings(args)
        problems = file_problems(loaded, unseen=unseen.append)
    except Refused as error:
        problems = error.problems + (file_problems(error.rest, unseen=unseen.append) if error.rest else [])
    except ConfigError as error:
        problems = error.problems
    if problems:
        for problem in problems:
            complain(problem)
        return USAGE
    for warning in [*cautions(loaded), *(f"{path}: not opened: only the daemon sees it" for path in unseen)]:
        complain(f"warning: {warning}", logging.WARNING)
    if not args.quiet:
        print(as_json(loaded) if args.json else f"# {file_taken(loaded)}\n\n{as_toml(loaded)}")
    return OK


def as_json(loaded: Loaded) -> str:
    """Return one object: the file's path, the values as in TOML, and the origin of each key."""
    shown = {
        "file": loaded.path and str(loaded.path),
        "config": _values(loaded),
        "origins": dict(loaded.origins),
    }
    return json.dumps(shown, indent=2)


def as_toml(loaded: Loaded) -> str:
    """Return TOML that loads as the same configuration (but for masked secrets), origins as comments."""
    rows: list[tuple[str, str]] = []
    for section, values in _values(loaded).items():
        rows += [("", ""), (f"[{section}]", "")]
        rows += [
            (f"{key} = {toml_value(value)}", loaded.origins[f"{section}.{key}"])
            for key, value in values.items()
        ]
    width = max(len(text) for text, _ in rows if len(text) <= _WIDEST_VALUE)
    return "\n".join(f"{text:{width}}  # {origin}" if origin else text for text, origin in rows[1:])


def _values(loaded: Loaded) -> dict[str, dict[str, Any]]:
    dumped = loaded.config.model_dump(mode="json", exclude_none=True)
    return {
        section: {key: masked((section, key), value) for key, value in values.items()}
        for section, values in dumped.items()
    }
