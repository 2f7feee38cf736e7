"""A small HTTP/1.1 server on the loopback: the receiving end of `hookd dev`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import h11
import trio

logger = logging.getLogger("hookd.dev")

IDLE_TIMEOUT = 60.0
"""Seconds that a connection may stay open without a request, or that one request may take."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of one request's body; events.max_bytes cannot be more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; `target` is the path as it was sent."""

    target: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Request], int]
"""Decides on the status that a request is answered with; the body stays empty."""


async def serve_receiver(
    answer: Answer, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer requests until cancelled. Starts with the port, when connections are accepted."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await _serve_connection(stream, answer)
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            logger.debug("the receiver lost a connection: %r", error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        task_status.started(port)


async def _serve_connection(stream: trio.SocketStream, answer: Answer) -> None:
    http = h11.Connection(h11.SERVER)
    async with stream:
        while True:
            with trio.move_on_after(IDLE_TIMEOUT) as scope:
                request = await _request(stream, http)
                if request is None:
                    return
                response = h11.Response(status_code=answer(request), headers=[("content-length", "0")])
                await stream.send_all(_bytes(http, response) + _bytes(http, h11.EndOfMessage()))
            if scope.cancelled_caught or {http.our_state, http.their_state} != {h11.DONE}:
                return
            http.start_next_cycle()


async def _request(stream: trio.SocketStream, http: h11.Connection) -> Request | None:
    """Return the next request; None if there is none any more, or one that is too large."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return Request(head.target.decode("latin-1"), headers, bytes(body))
        else:
            return None


def _bytes(http: h11.Connection, event: h11.Response | h11.EndOfMessage) -> bytes:
    return http.send(event) or b""
