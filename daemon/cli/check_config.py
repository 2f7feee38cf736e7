"""`hookd check-config`: the effective configuration with its origins, or everything that is wrong."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from daemon.config.load import ConfigError, Loaded, load
from daemon.config.masking import masked
from daemon.config.toml_text import toml_value

_DESCRIPTION = "Check the configuration and print it as hookd sees it, with the origin of each value."
_EPILOG = "Exit codes: 0 the configuration is good; 2 it is not, every problem is on standard error."
_WIDEST_VALUE = 60


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check-config", help="check the configuration and print it", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of TOML")


def run(args: argparse.Namespace) -> int:
    """Print the configuration that `args.config` and `args.set` lead to; return the exit code."""
    try:
        loaded = load(Path(args.config) if args.config else None, sets=args.set or ())
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    print(as_json(loaded) if args.json else as_toml(loaded))
    return 0


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
