"""The arguments of `hookd config`, and its help."""

import argparse

_DESCRIPTION = """
Print the config.toml that hookd comes with: every setting at its default, each with a
comment. The daemon starts with it as it is; what is in force is shown by check-config.
"""
_EPILOG = """
Examples:
  hookd config default
  sudo sh -c "hookd config default > /etc/hookd/config.toml"

Exit codes:
  0  the file is on standard output
  2  wrong usage
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "config", help="print a configuration to start from", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("which", choices=["default"], help="which file: there is one")
