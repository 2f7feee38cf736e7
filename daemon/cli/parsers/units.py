"""The arguments of `hookd units`, and its help."""

import argparse
from pathlib import Path

from daemon.cli.shipped import UNITS

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


def _unit(text: str) -> str:
    if text not in UNITS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}: name {', '.join(UNITS)}, or none for all")
    return text
