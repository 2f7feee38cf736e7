"""The arguments of `hookd migrate`, and its help."""

import argparse

_DESCRIPTION = """
Bring the schema in the database to what this version of hookd needs, and make the
partitions of the next weeks. Either everything is applied or nothing. The daemon does
the same when it starts; this is for running it first, or as another database account.
"""
_EPILOG = """
Examples:
  hookd migrate
  hookd migrate --set database.url=postgresql://owner@db.internal/app
  hookd migrate --json

Exit codes:
  0  the schema is up to date
  1  it is not; standard error says why and what to do
  2  wrong usage or configuration
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "migrate", help="bring the database's schema up to date", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")
