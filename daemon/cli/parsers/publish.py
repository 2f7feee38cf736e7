"""The arguments of `hookd publish`, and its help."""

import argparse

from daemon.cli.arguments import organisation

_DESCRIPTION = """
Publish events of one organisation and print their ids, one a line. They go straight into
the database, so this works while the daemon is down; it delivers them when it is up.

Either one event, by --type and --data, or a file (or standard input, "-") with one event
a line:

  {"type": "placement.created", "data": {"id": 7}}
  {"type": "match.proposed", "data": [1, 2], "key": "m-81"}

"key" (up to 256 characters) is your own name for the event: the same key again
within 24 hours publishes nothing and prints the first event's id. "deliver_after"
(2026-03-10T10:00:00Z) holds an event back until then.

Lines are published as they come, a batch at a time, each batch whole or not at all.
A bad line ends it: the events before it are published, the error names it.
"""
_EPILOG = """
Examples:
  hookd publish --org $ORG --type placement.created --data '{"id": 7}'
  hookd publish --org $ORG events.ndjson
  tail -f app.log | to-events | hookd publish --org $ORG -

Exit codes:
  0  all events are published
  1  not all are; standard error says which, why, and where to go on
  2  wrong usage or configuration
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "publish",
        help="publish events, straight into the database",
        usage="hookd publish --org UUID (--type TYPE [--data JSON] | FILE | -)",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help='one event a line; "-": standard input')
    parser.add_argument(
        "--org", metavar="UUID", type=organisation, required=True, help="the organisation they belong to"
    )
    parser.add_argument("--type", metavar="TYPE", help="publish one event of this type")
    parser.add_argument("--data", metavar="JSON", help="its data (default: {})")
    parser.add_argument("--json", action="store_true", help='print {"line": 1, "id": "..."} for each event')
