"""`hookd units`: the files for systemd that hookd comes with."""

import argparse
from pathlib import Path

from daemon.cli.failure import OK, CommandError
from daemon.cli.shipped import UNITS, shipped


def run(args: argparse.Namespace) -> int:
    """Print or write the files; return the exit code. Error: `CommandError`."""
    names = args.names or UNITS
    for name in names:
        if args.to is not None:
            print(_written(args.to / name, shipped(name)))
        else:
            head = f"# {name}\n" if len(names) > 1 else ""
            print(head + shipped(name), end="")
    return OK


def _written(path: Path, text: str) -> Path:
    """Write a file that everybody may read, as systemd's are, and return its path."""
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise CommandError(f"cannot write {path} ({error.strerror}): name a directory with --to") from error
    return path
