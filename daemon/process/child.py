"""One daemon of several: what its supervisor hands to it, and how it hears that the supervisor is gone."""

import logging
import os
from collections.abc import MutableMapping
from dataclasses import dataclass

import trio

from daemon.process.systemd import DESCRIPTOR

logger = logging.getLogger("hookd")

_NUMBER, _SOCKETS, _CHANNEL = "HOOKD_PROCESS", "HOOKD_LISTEN_FDS", "NOTIFY_SOCKET"


@dataclass(frozen=True, slots=True)
class Child:
    """The daemon's `number`, from 1, and file descriptors: the `sockets` that listen, and the `channel`.

    Over the channel, a sequenced-packet socket, the daemon tells what it would tell systemd; the supervisor
    says nothing there: that its end closes means stop, whether it wants that or has been killed.
    """

    number: int
    sockets: tuple[int, ...]
    channel: int

    def variables(self) -> dict[str, str]:
        """Return the environment variables that tell all this to a new process."""
        return {
            _NUMBER: str(self.number),
            _SOCKETS: ",".join(map(str, self.sockets)),
            _CHANNEL: f"{DESCRIPTOR}{self.channel}",
        }


def handed_over(environ: MutableMapping[str, str] = os.environ) -> Child | None:
    """Return what a supervisor handed to this process; None for one that runs by itself."""
    number, sockets = environ.pop(_NUMBER, ""), environ.pop(_SOCKETS, "")
    channel = environ.get(_CHANNEL, "")  # stays, for what is told to systemd
    if not number or not channel.startswith(DESCRIPTOR):
        return None
    return Child(int(number), tuple(map(int, sockets.split(","))), int(channel.removeprefix(DESCRIPTOR)))


async def serve_channel(child: Child, stop: trio.Event) -> None:
    """Set `stop` when the supervisor ends the channel."""
    await trio.lowlevel.wait_readable(child.channel)
    if not stop.is_set():
        logger.info("stopping, as the supervisor wants it or has ended")
    stop.set()
