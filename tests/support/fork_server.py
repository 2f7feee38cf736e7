"""Starts daemons by forking: importing all of hookd takes longer than everything else that a start does.

    python fork_server.py [MODULE.NAME=NUMBER …] [-- hookd's arguments]

Constants of hookd that are no settings can be other ones, so that a test need not wait for them. With
arguments it is `hookd` itself. Without, its standard input is a socket, on which each order comes with three
descriptors: the daemon's standard output, its standard error, and a pipe that is told its process and, at the
end, its status. `tests.support.forked` gives the orders.

A daemon that starts others (`daemon.processes`) starts them by forking, too, where the order says so.
"""

import ctypes
import fcntl
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

# What `run` imports when it is called, and nothing of the tests: the daemons may be another checkout's.
import daemon.cli.run  # noqa: F401
from daemon.cli.main import main

LARGEST = 256 * 1024
"""Bytes of an order."""
PR_SET_CHILD_SUBREAPER = 36


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
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, 1024)
    os.chdir(order["directory"])
    sys.argv[1:] = order["arguments"]
    if order["forks"]:
        _fork_what_it_starts()
    _run(order["environment"])


def _run(environment: dict[str, str]) -> NoReturn:
    status = 1
    try:
        random.seed()
        os.environ.clear()
        os.environ.update(environment)
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _fork_what_it_starts() -> None:
    """Have a process that is like this one now fork what `subprocess` would start: the same command again.

    This one will have threads and an event loop, which no fork survives. The forks are its children all the
    same: whoever forked them ends at once, and Linux gives them to the nearest ancestor that wants them.
    """
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.fork() == 0:
        ours.close()
        _serve_supervisor(its)
    its.close()

    class ForkingPopen(subprocess.Popen[bytes]):
        def _execute_child(
            self,
            args: object,
            executable: object,
            preexec_fn: object,
            close_fds: object,
            pass_fds: Sequence[int],
            cwd: object,
            env: dict[str, str],
            *_: object,
        ) -> None:
            order = {"environment": env, "descriptors": list(pass_fds)}
            socket.send_fds(ours, [json.dumps(order).encode()], pass_fds)
            self.pid = int(ours.recv(100))
            self._child_created = True

    subprocess.Popen = ForkingPopen  # type: ignore[assignment,misc]


def _serve_supervisor(orders: socket.socket) -> NoReturn:
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, LARGEST, 16)
        if not order:
            os._exit(0)
        tell, told = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                _become_child(json.loads(order), descriptors)
            os.write(told, b"%d" % pid)
            os._exit(0)
        os.waitpid(between, 0)  # from now on the supervisor is its parent
        orders.send(os.read(tell, 100))
        for descriptor in (tell, told, *descriptors):
            os.close(descriptor)


def _become_child(order: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
    os.setsid()
    # Out of the way first: a number that one is to have may be what another one has.
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 512) for descriptor in descriptors]
    os.closerange(3, 512)
    for descriptor, wanted in zip(high, order["descriptors"], strict=True):
        os.dup2(descriptor, wanted)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    _run(order["environment"])


if __name__ == "__main__":
    # What comes before "--" is for this program.
    own = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    for change in sys.argv[1:own]:
        replace(change)
    gc.freeze()  # else each daemon looks through all of this as it starts, and copies it
    if sys.argv[own + 1 :]:
        del sys.argv[1 : own + 1]
        main()
    else:
        serve(socket.socket(fileno=os.dup(0)))
