"""`hookd run`: the daemon."""

import argparse

import trio

from daemon.cli.addresses import client_url
from daemon.cli.failure import OK
from daemon.cli.settings import load_settings, log_source
from daemon.process import logs
from daemon.process.child import handed_over
from daemon.process.main import Running, run_daemon
from daemon.process.startup import prepared
from daemon.process.supervisor import supervise
from daemon.process.version import VERSION

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


def run(args: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop; return the exit code."""
    loaded = load_settings(args)
    child = handed_over()
    number = None if child is None else child.number
    logs.configure(loaded.config.logging.level, loaded.config.logging.format, process=number)
    if child is None:
        log_source(loaded)
    with prepared(loaded, child) as preparation:
        if child is not None:
            trio.run(lambda: run_daemon(preparation, ready=_leave_to_supervisor))
        elif loaded.config.daemon.processes > 1:
            return trio.run(lambda: supervise(preparation, ready=_announce))
        else:
            trio.run(lambda: run_daemon(preparation, ready=_announce))
    return OK


def _announce(running: Running) -> None:
    addresses = " ".join(client_url(address) for address in running.addresses)
    print(f"hookd {VERSION} is ready: {addresses}", flush=True)


def _leave_to_supervisor(running: Running) -> None:
    """Print nothing: the supervisor announces all at once."""
