"""The arguments of `hookd check-config`, and its help."""

import argparse

_DESCRIPTION = """
Check the configuration, open every file that it names (secrets, keys, authorities, schemas)
as the daemon would, and print it as hookd sees it, with the origin of each value. Run it as
the daemon's user: what that may not read is a problem, too. The database is not asked.
"""
_EPILOG = """
Examples:
  hookd check-config
  sudo -u hookd hookd check-config --quiet

Exit codes:
  0  the configuration is good
  2  it is not; every problem is on standard error
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check-config", help="check the configuration and print it", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    parser.add_argument("--quiet", action="store_true", help="print nothing but problems and warnings")
