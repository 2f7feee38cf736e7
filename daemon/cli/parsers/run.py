"""The arguments of `hookd run`, and its help."""

import argparse

_DESCRIPTION = """
Run the daemon in the foreground. Once it works (the schema is up to date, the
API answers) it prints one line on standard output:

  hookd 0.1.0 is ready: http://127.0.0.1:8080

Logs go to standard error. SIGTERM or Ctrl-C stops it in order: what is under way is
finished within daemon.stop_timeout. A second one ends it at once, which loses nothing:
what was not recorded is sent again.

With daemon.processes above 1, so many daemons share the API's address and the work, and
this process starts, watches and stops them; the line comes when all of them are ready.
"""
_EPILOG = """
Examples:
  hookd run
  hookd run --config /etc/hookd/config.toml --set logging.level=debug
  hookd run --set api.bind=127.0.0.1:0     any free port; the line tells which
  hookd run --set daemon.processes=4       four daemons, to use four cores

Exit codes:
  0  stopped in order
  1  could not start, failed, or was ended by a second signal
  2  wrong usage or configuration
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    subparsers.add_parser("run", help="run the daemon", description=_DESCRIPTION, epilog=_EPILOG)
