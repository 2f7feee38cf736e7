"""The daemon with shorter leases than any setting allows, so that a schedule need not wait for them.

As a program it is `hookd` (`quick_daemon.py run --set …`). Without arguments it is a server that starts
daemons by forking, as importing takes longer than all else that one does in a schedule. Lines of JSON come
in, `{"id", "arguments", "log"}`, others go out: `{"id", "pid"}`, `{"id", "said"}`, `{"id", "status"}`.
"""

import json
import os
import random
import selectors
import signal
import sys
from typing import Any, NoReturn

import daemon.delivery.sweeper
import daemon.process.application
import daemon.process.main
from daemon.cli.main import main

RECORDING_TIME = 2.5
SWEEP_PERIOD = 0.5


def _replace(module: object, name: str, value: float) -> None:
    if not hasattr(module, name):
        raise AttributeError(f"{module} has no {name} any more: change {__file__}")
    setattr(module, name, value)


def serve() -> None:
    """Start daemons until nobody asks for more; then kill those that are left."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    children: dict[int, tuple[int, int]] = {}
    asked = b""
    while True:
        for key, _ in selector.select():
            data = os.read(key.fd, 65536)
            if key.fd == 0:
                if not data:
                    for _, pid in children.values():
                        os.kill(pid, signal.SIGKILL)
                    return
                *lines, asked = (asked + data).split(b"\n")
                for line in lines:
                    order = json.loads(line)
                    output, pid = _start(order)
                    children[output] = order["id"], pid
                    selector.register(output, selectors.EVENT_READ)
                    _tell(order["id"], pid=pid)
            elif data:
                _tell(children[key.fd][0], said=data.decode())
            else:
                number, pid = children.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                _tell(number, status=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _start(order: dict[str, Any]) -> tuple[int, int]:
    output, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_daemon(end, order["log"], order["arguments"])
    os.close(end)
    return output, pid


def _become_daemon(output: int, log: str, arguments: list[str]) -> NoReturn:
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        os.closerange(3, 1024)
        random.seed()
        sys.argv[1:] = arguments
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tell(number: int, **what: object) -> None:
    os.write(1, json.dumps({"id": number, **what}).encode() + b"\n")


if __name__ == "__main__":
    _replace(daemon.process.application, "RECORDING_TIME", RECORDING_TIME)
    _replace(daemon.delivery.sweeper, "PERIOD", SWEEP_PERIOD)
    if len(sys.argv) > 1:
        main()
    else:
        serve()
