"""Requests to an API as fast as it answers, from a process of its own that costs little.

    echo '{"address": "127.0.0.1:8080", "token": "…", "events": 10000, "at_once": 32}' |
        python -m bench.posting

Each event of 450 bytes is a request of its own, `at_once` of them under way over as many kept connections;
with `at_once` 0 all are lines of one streamed request. Prints the rate as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile

from bench.figures import Run
from bench.filling import small
from bench.hookd import EVENT_TYPE
from bench.processes import ROOT
from bench.report import CannotRun

PIECE = 200
"""Lines that are written at once."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to post, and where."""

    address: str
    token: str
    events: int
    at_once: int


def post(order: Order) -> Run:
    """Post it all from a process of its own. Error: `CannotRun`."""
    command = [sys.executable, "-m", "bench.posting"]
    with TemporaryFile("w+") as errors:
        done = subprocess.run(
            command,
            input=json.dumps(asdict(order)),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            check=False,
        )
        errors.seek(0)
        if done.returncode:
            raise CannotRun(f"{' '.join(command)} failed: {errors.read().strip()[-1000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def head(order: Order, media_type: str, framing: str) -> bytes:
    """Return the head of a request."""
    return (
        f"POST /events HTTP/1.1\r\nHost: {order.address}\r\nContent-Type: {media_type}\r\n"
        f"Authorization: Bearer {order.token}\r\n{framing}\r\n\r\n"
    ).encode()


def bodies(order: Order) -> list[bytes]:
    """Return the events, made beforehand."""
    data = small()
    return [json.dumps({"type": EVENT_TYPE, "data": data(number)}).encode() for number in range(order.events)]


async def answered(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; raise RuntimeError unless it is 202."""
    answer = await reader.readuntil(b"\r\n\r\n")
    length = answer.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    if length:
        said = await reader.readexactly(int(length))
    else:
        said = b"".join([piece async for piece in _chunks(reader)])
    if b" 202 " not in answer.partition(b"\r\n")[0]:
        raise RuntimeError(f"an event was refused: {(answer + said[-500:]).decode()}")
    return said


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


async def singly(order: Order) -> float:
    """Post each by itself; return the seconds that it took."""
    turns: Iterator[bytes] = iter(bodies(order))
    host, _, port = order.address.rpartition(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(order.at_once)]

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in turns:
            writer.write(head(order, "application/json", f"Content-Length: {len(body)}") + body)
            await answered(reader)
        writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(work(*stream))
    return time.perf_counter() - began


async def streamed(order: Order) -> float:
    """Post all in one request; return the seconds until the answer was whole."""
    lines = bodies(order)
    host, _, port = order.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    began = time.perf_counter()
    writer.write(head(order, "application/x-ndjson", "Transfer-Encoding: chunked"))
    answer = asyncio.create_task(answered(reader))
    for start in range(0, len(lines), PIECE):
        piece = b"\n".join(lines[start : start + PIECE]) + b"\n"
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await answer
    took = time.perf_counter() - began
    writer.close()
    return took


def main() -> None:
    """Read the order, post, and print the rate."""
    order = Order(**json.load(sys.stdin))
    took = asyncio.run(singly(order) if order.at_once else streamed(order))
    print(json.dumps({"rate_per_s": order.events / took}))


if __name__ == "__main__":
    main()
