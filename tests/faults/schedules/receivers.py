"""The receivers of a schedule: hosts on loopback, each in the mood of the moment, that note what came."""

import random
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httptools
import trio
from standardwebhooks import Webhook

from tests.faults.schedules.model import Arrival, Model
from tests.faults.schedules.plan import Mood
from tests.support.receiver import Received, Receiver, Reply

TOLERANCE = 300
"""Seconds that a signature's timestamp may be off, for receivers as Standard Webhooks has them."""
SLOW = 0.4


class Host:
    """One host and port. `mood` is set from outside; `secrets` are the subscriptions', by number."""

    def __init__(self, model: Model, secrets: Mapping[int, str], seed: int, now: Callable[[], float]) -> None:
        self._model, self._secrets, self._now = model, secrets, now
        self._chance = random.Random(seed)
        self._scope = trio.CancelScope()
        self._moved = trio.Event()
        self._mood: Mood | None = None
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._receiver = Receiver(self._answer)

    @property
    def mood(self) -> Mood | None:
        """How it answers; None: well and at once."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood | None) -> None:
        away = Mood.AWAY in (mood, self._mood)
        self._mood = mood
        self._moved.set()
        self._moved = trio.Event()
        if away:
            self._scope.cancel()

    async def serve(self) -> None:
        """Listen until cancelled. While it is away its port stays bound, and refuses."""
        while True:
            if self._mood is Mood.AWAY:
                await self._moved.wait()
                continue
            self._socket.listen(128)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
            with trio.CancelScope() as self._scope:
                await trio.serve_listeners(self._converse, [listener])
            self._socket.close()
            self._socket = _bound(self.port)

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            await self._receiver.serve(stream)
        except httptools.HttpParserError:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: Received) -> Reply:
        number = int(request.path.removeprefix("/"))
        arrival = Arrival(number, request.event_id, request.headers["x-alter-delivery"], self._now())
        self._model.arrivals.append(arrival)
        self._verify(arrival, request)
        status = 401 if arrival.forged or arrival.stale else 204
        mood = self._mood
        if mood is Mood.SILENT:
            await self._moved.wait()
            return Reply(0)
        if mood is Mood.SLOW:
            await trio.sleep(SLOW)
        if mood is Mood.FAILING and self._chance.random() < 0.5:
            status = 500
        arrival.status, arrival.answered = status, self._now()
        if arrival.accepted:
            self._model.note_accepted(arrival)
        return Reply(status)

    def _verify(self, arrival: Arrival, request: Received) -> None:
        sent = int(request.headers["webhook-timestamp"])
        arrival.stale = abs(sent - time.time()) > TOLERANCE
        right = Webhook(self._secrets[arrival.subscription]).sign(
            arrival.event_id, datetime.fromtimestamp(sent, UTC), request.body.decode()
        )
        arrival.forged = right not in request.headers["webhook-signature"].split()


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.setblocking(False)
    return found
