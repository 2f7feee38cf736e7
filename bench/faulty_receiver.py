"""A receiver that takes its time, of whose answers a share is bad, and that can go away.

    python -m bench.faulty_receiver PORT CONTROL ADDRESS…

CONTROL is a port of 127.0.0.1. `GET /set?delay=0.5&kind=503&share=0.05` says what becomes of requests from
now on: so many seconds after they came, that share of them gets another status than 200, or a connection that
is closed (`closed`), or nothing at all (`silence`); with `number=17` that event always does. `GET
/away?seconds=2` closes everything for so long. `GET /stamps` gives number, moment (of the monotonic clock),
and whether the answer was good, of the requests that came whole since it was last asked; and the most that
were under way at once.
"""

import asyncio
import json
import random
import re
import sys
import time
from urllib.parse import parse_qsl, urlsplit

from bench.own_receiver import ANSWER

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb'"number": *(\d+)')
SILENCE, CLOSED = "silence", "closed"


class Faulty:
    """What all connections share."""

    def __init__(self, port: int, addresses: list[str]) -> None:
        self.delay, self.kind, self.share, self.number = 0.0, "503", 0.0, -1
        self.stamps: list[tuple[int, float, bool]] = []
        self.under_way = self.most = 0
        self.connections: set[Connection] = set()
        self._port, self._addresses = port, addresses
        self._chance = random.Random(7)
        self._server: asyncio.Server | None = None

    async def come(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        made = loop.create_server(lambda: Connection(self), self._addresses, self._port, backlog=1024)
        self._server = await made

    async def go(self, seconds: float) -> None:
        """Refuse everybody for so long."""
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(seconds)
        await self.come()

    def is_bad(self, number: int) -> bool:
        """Draw whether this request fails."""
        return number == self.number or self._chance.random() < self.share


class Connection(asyncio.Protocol):
    """One connection; a sender has one request under way on it."""

    def __init__(self, faulty: Faulty) -> None:
        self._faulty = faulty
        self._seen = b""
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._faulty.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was under way as over."""
        self._faulty.connections.discard(self)
        self._over()

    def abort(self) -> None:
        """Reset it."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Note a request that has come whole, and answer it later."""
        self._seen += data
        head = self._seen.find(_HEAD_END)
        length = _LENGTH.search(self._seen, 0, max(head, 0))
        if head < 0 or len(self._seen) < head + len(_HEAD_END) + int(length[1] if length else 0):
            return
        found = _NUMBER.search(self._seen)
        number = int(found[1]) if found else -1
        self._seen = b""
        faulty = self._faulty
        kind = faulty.kind if faulty.is_bad(number) else "200"
        faulty.stamps.append((number, time.monotonic(), kind == "200"))
        self._is_busy = True
        faulty.under_way += 1
        faulty.most = max(faulty.most, faulty.under_way)
        if kind != SILENCE:
            asyncio.get_running_loop().call_later(faulty.delay, self._answer, kind)

    def _answer(self, kind: str) -> None:
        if self._transport.is_closing():
            return
        if kind == CLOSED:
            self._transport.close()
        else:
            self._over()
            self._transport.write(ANSWER.replace(b"200 OK", f"{kind} Status".encode()))

    def _over(self) -> None:
        self._faulty.under_way -= self._is_busy
        self._is_busy = False


async def serve(port: int, control_port: int, addresses: list[str]) -> None:
    """Serve until the process is ended."""
    faulty = Faulty(port, addresses)
    going: set[asyncio.Task[None]] = set()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = urlsplit((await reader.readuntil(_HEAD_END)).split()[1].decode())
        given = dict(parse_qsl(asked.query))
        stamps: list[tuple[int, float, bool]] = []
        most = faulty.most
        match asked.path:
            case "/stamps":
                stamps, faulty.stamps = faulty.stamps, []
            case "/set":
                faulty.delay, faulty.kind = float(given["delay"]), given["kind"]
                faulty.share, faulty.number = float(given["share"]), int(given.get("number", -1))
                faulty.stamps, faulty.most = [], faulty.under_way
            case "/away":
                task = asyncio.create_task(faulty.go(float(given["seconds"])))
                going.add(task)
                task.add_done_callback(going.discard)
        text = json.dumps({"stamps": stamps, "most": most})
        writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    await faulty.come()
    controlled = await asyncio.start_server(control, "127.0.0.1", control_port)
    print("ready", flush=True)
    await controlled.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
