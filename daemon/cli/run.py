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
