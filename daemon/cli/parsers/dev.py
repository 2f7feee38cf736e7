"""The arguments of `hookd dev`, and its help."""

import argparse

TRICKLED = 3
"""Events after the sample that --exit waits for."""

_DESCRIPTION = """
See hookd work, with nothing set up: in one process run an embedded Postgres, the daemon
and a receiver that verifies each signature; register subscriptions, publish one event of
each type and then one a second, all through the REST API; and show what happens.

/inbox takes everything. /flaky takes match.proposed, and answers 503 twice for
each event before it takes it, so that retries are seen.

It differs from `hookd run` in this: state in <state>/dev, the database emptied at each
start; retries after 1s, 2s, 3s; http:// and the loopback allowed as receivers; a free
port if the configured one is taken; tokens by a secret of its own; logs from warnings on.
Without --config and $HOOKD_CONFIG it takes ./config.toml, before /etc/hookd/config.toml.
"""
_EPILOG = """
Examples:
  hookd dev
  hookd dev --verbose --set 'delivery.retry_schedule=["500ms", "5s"]'
  hookd dev --exit      prove that an installation works, then stop

Exit codes:
  0  stopped by Ctrl-C; with --exit: all was delivered and verified
  1  could not start, or failed; with --exit: not all arrived within a minute
  2  wrong usage or configuration

A second Ctrl-C ends it at once.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "dev",
        help="see it work on this machine, with events flowing",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--exit", action="store_true", help=f"stop when the sample and {TRICKLED} more events have arrived"
    )
    parser.add_argument("--verbose", action="store_true", help="show the daemon's log, not only warnings")
    parser.add_argument(
        "--color",
        choices=["auto", "always", "never"],
        default="auto",
        help="colours (default: auto, on a terminal)",
    )
