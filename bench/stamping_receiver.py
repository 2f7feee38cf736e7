"""A receiver that notes when each event came, and that can be told to keep its senders waiting.

    python -m bench.stamping_receiver PORT CONTROL ADDRESS…

An event is known by the number in its data ({"number": 17}). What is posted to /slow is answered after 14
seconds, and not noted. CONTROL is a port of 127.0.0.1: `GET /stamps`
gives the numbers and moments (seconds of the monotonic clock, which all processes share) since it was last
asked; after `GET /hold/N` only N requests more get an answer until `GET /release`. Each tells how many
waited, too.
"""

import asyncio
import json
import math
import re
import sys
import time
from collections.abc import Callable

from bench.own_receiver import ANSWER

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb'"number": *(\d+)')
SLOW = 14.0

stamps: list[tuple[int, float]] = []
waiting: list[Callable[[], None]] = []


class Stamping(asyncio.Protocol):
    """One connection; a sender has one request under way on it."""

    to_answer = math.inf

    def __init__(self) -> None:
        self._seen = b""
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Stamp and answer a request that has come whole."""
        self._seen += data
        if not self._whole:
            head = self._seen.find(_HEAD_END)
            if head < 0:
                return
            length = _LENGTH.search(self._seen, 0, head)
            self._whole = head + len(_HEAD_END) + int(length[1] if length else 0)
        if len(self._seen) < self._whole:
            return
        if self._seen.startswith(b"POST /slow"):
            self._seen, self._whole = b"", 0
            asyncio.get_running_loop().call_later(SLOW, self._answer)
            return
        moment = time.monotonic()
        number = _NUMBER.search(self._seen)
        self._seen, self._whole = b"", 0
        if number:
            stamps.append((int(number[1]), moment))
        if Stamping.to_answer:
            Stamping.to_answer -= 1
            self._answer()
        else:
            waiting.append(self._answer)

    def _answer(self) -> None:
        self._transport.write(ANSWER)


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what the request's path says and tell."""
    path = (await reader.readuntil(_HEAD_END)).split()[1].decode()
    found: list[tuple[int, float]] = []
    waited = len(waiting)
    if path == "/stamps":
        found, stamps[:] = stamps[:], []
    elif path.startswith("/hold/"):
        Stamping.to_answer = int(path.removeprefix("/hold/"))
    elif path == "/release":
        Stamping.to_answer = math.inf
        for answer in waiting:
            answer()
        waiting.clear()
    text = json.dumps({"stamps": found, "waited": waited})
    writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    await writer.drain()
    writer.close()


async def serve(port: int, control_port: int, addresses: list[str]) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Stamping, addresses, port, backlog=1024)]
    servers.append(await asyncio.start_server(control, "127.0.0.1", control_port))
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
