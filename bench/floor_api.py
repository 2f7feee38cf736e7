"""httptools on Trio: reads requests and answers a constant, and knows nothing else of HTTP; to compare with.

    python -m bench.floor_api

Prints its port when it is ready.
"""

import json

import httptools
import trio

from daemon.uuid7 import uuid7

_BODY = json.dumps({"id": str(uuid7())}).encode()
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)
PIECE = 65_536


class _Requests:
    """Counts whole requests of one connection."""

    def __init__(self) -> None:
        self.whole = 0
        self.feed = httptools.HttpRequestParser(self).feed_data

    def on_message_complete(self) -> None:
        self.whole += 1


async def serve(stream: trio.SocketStream) -> None:
    """Answer each request of one connection, until the client closes it."""
    requests = _Requests()
    async with stream:
        while data := await stream.receive_some(PIECE):
            requests.feed(data)
            if requests.whole:
                await stream.send_all(ANSWER * requests.whole)
                requests.whole = 0


async def main() -> None:
    """Serve until the process is ended."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"ready on {listener.socket.getsockname()[1]}", flush=True)
    await trio.serve_listeners(serve, [listener])


if __name__ == "__main__":
    trio.run(main)
