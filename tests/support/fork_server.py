"""Starts daemons by forking: importing all of hookd takes longer than everything else that a start does.

    python fork_server.py [MODULE.NAME=NUMBER …] [-- hookd's arguments]

Constants of hookd that are no settings can be other ones, so that a test need not wait for them. With
arguments it is `hookd` itself. Without, its standard input is a socket, on which each order comes with three
descriptors: the daemon's standard output, its standard error, and a pipe that is told its process and, at the
end, its status. `tests.support.forked` gives the orders.
"""

import importlib
import json
import os
import random
import select
import signal
import socket
import sys
from typing import Any, NoReturn

# What `run` imports when it is called, and nothing of the tests: the daemons may be another checkout's.
import daemon.process.main  # noqa: F401
from daemon.cli.main import main

LARGEST = 256 * 1024
"""Bytes of an order."""


def replace(change: str) -> None:
    """Set one constant, written "daemon.delivery.sweeper.PERIOD=0.5"."""
    name, _, value = change.partition("=")
    module, _, constant = name.rpartition(".")
    loaded = importlib.import_module(module)
    if not hasattr(loaded, constant):
        raise AttributeError(f"{module} has no {constant} any more: find out who asks for {change}")
    setattr(loaded, constant, float(value))


def serve(orders: socket.socket) -> None:
    """Start daemons until nobody asks for more; then kill those that are left."""
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready != orders.fileno():
                poll.unregister(ready)
                os.close(ready)
                pid, told = running.pop(ready)
                os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(told)
                continue
            order, descriptors, _, _ = socket.recv_fds(orders, LARGEST, 3)
            if not order:
                for pid, _ in running.values():
                    os.kill(pid, signal.SIGKILL)
                return
            output, errors, told = descriptors
            pid = os.fork()
            if pid == 0:
                _become_daemon(json.loads(order), output, errors)
            os.close(output)
            os.close(errors)
            os.write(told, b"%d\n" % pid)
            watched = os.pidfd_open(pid)
            running[watched] = pid, told
            poll.register(watched, select.POLLIN)


def _become_daemon(order: dict[str, Any], output: int, errors: int) -> NoReturn:
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.closerange(3, 1024)
        random.seed()
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["directory"])
        sys.argv[1:] = order["arguments"]
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    # What comes before "--" is for this program.
    own = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    for change in sys.argv[1:own]:
        replace(change)
    if sys.argv[own + 1 :]:
        del sys.argv[1 : own + 1]
        main()
    else:
        serve(socket.socket(fileno=os.dup(0)))
