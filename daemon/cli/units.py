"""`hookd units`: the files for systemd that hookd comes with."""

import argparse
from pathlib import Path

from daemon.cli.failure import OK, CommandError
from daemon.cli.shipped import UNITS, shipped

_DESCRIPTION = """
Print the files for systemd that hookd comes with, or write them into a directory. The
service expects hookd in /opt/hookd, for instance a venv there, and its configuration in
/etc/hookd/config.toml; the user that it runs as is made from hookd.sysusers.conf.
"""
_EPILOG = """
Examples:
  hookd units
  hookd units hookd.service hookd.socket --to /etc/systemd/system
  hookd units hookd.sysusers.conf     for /usr/lib/sysusers.d/hookd.conf

Exit codes:
  0  done
  1  a file could not be written; standard error says why
  2  wrong usage
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "units", help="print or write the files for systemd", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("names", nargs="*", metavar="NAME", type=_unit, help=f"of {', '.join(UNITS)}")
    parser.add_argument("--to", metavar="DIR", type=Path, help="write them there, and say what was written")


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


def _unit(text: str) -> str:
    if text not in UNITS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}: name {', '.join(UNITS)}, or none for all")
    return text


def _written(path: Path, text: str) -> Path:
    """Write a file that everybody may read, as systemd's are, and return its path."""
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise CommandError(f"cannot write {path} ({error.strerror}): name a directory with --to") from error
    return path
