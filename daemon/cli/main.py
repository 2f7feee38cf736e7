"""The command line: options that all commands share, and the choice of the command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from daemon.cli.failure import FAILED, explained
from daemon.cli.help_text import HelpFormatter
from daemon.cli.parsers import check_config, config, dev, migrate, publish, run, token, units
from daemon.process.version import VERSION

PARSERS = (run, dev, config, check_config, migrate, publish, token, units)
"""In the order of the help. Each has `add_parser(subparsers)` and nothing of what the command runs."""

_DESCRIPTION = """
hookd delivers webhooks: signed, retried, in turns, and needing nothing but
Postgres.
"""
_EPILOG = """
First steps:
  hookd dev              see it work: a receiver, a token, events flowing
  hookd check-config     the configuration in force, and where it comes from
  hookd run              the daemon

The configuration is read from --config, else $HOOKD_CONFIG, else
/etc/hookd/config.toml (`hookd dev` looks for ./config.toml before that); then
the environment (HOOKD_DATABASE__URL=...) and --set change single keys.

Exit codes:
  0    done
  1    failed; standard error says why and what to do
  2    wrong usage or configuration
  130  ended by Ctrl-C

`hookd COMMAND --help` tells more about each.
"""


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; wrong usage exits at once, with 2."""
    try:
        args = parse(arguments)
        code = command(args.command)(args)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        explanation = explained(error)
        if explanation is None:
            raise
        code = explanation
    return code if _flushed() else FAILED


def command(name: str) -> Callable[[argparse.Namespace], int]:
    """Return what runs the command and returns its exit code, imported now: a command is not to load all."""
    match name:
        case "run":
            from daemon.cli.run import run
        case "dev":
            from daemon.cli.dev import run
        case "config":
            from daemon.cli.config import run
        case "check-config":
            from daemon.cli.check_config import run
        case "migrate":
            from daemon.cli.migrate import run
        case "publish":
            from daemon.cli.publish import run
        case "token":
            from daemon.cli.token import run
        case "units":
            from daemon.cli.units import run
        case _:
            raise LookupError(name)
    return run


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; `config` and `set` are those from before and after the command together."""
    args = build_parser().parse_args(arguments)
    args.config = args.config_after or args.config
    args.set = [*args.set, *args.set_after]
    return args


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        "hookd", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"hookd {VERSION}")
    _add_shared(parser)
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for module in PARSERS:
        module.add_parser(subparsers)
    for subparser in subparsers.choices.values():
        subparser.formatter_class = HelpFormatter
        # Under other names: what argparse reads after the command would replace what stood before it.
        _add_shared(subparser, suffix="_after")
    return parser


def _add_shared(parser: argparse.ArgumentParser, suffix: str = "") -> None:
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", metavar="PATH", dest=f"config{suffix}", help="the configuration file")
    group.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest=f"set{suffix}",
        help="change one key; may be repeated",
    )


def _flushed() -> bool:
    """Write out what is buffered; False if nobody reads it any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Else the interpreter tries once more at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
