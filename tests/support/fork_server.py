"""Starts daemons by forking: importing all of hookd takes longer than everything else that a start does.

Run as a program by `tests.support.forked`. Its standard input is a socket, on which each order comes with
three descriptors: the daemon's standard output, its standard error, and a pipe that is told its process and,
at the end, its status.
"""

import json
import os
import random
import select
import signal
import socket
import sys
from typing import Any, NoReturn

import daemon.process.main  # noqa: F401  # what `run` imports when it is called
from daemon.cli.main import main

LARGEST = 256 * 1024
"""Bytes of an order."""


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
    serve(socket.socket(fileno=os.dup(0)))
