"""A publisher on a schedule, through the REST API or SQL, in a process of its own.

    echo '{"kind": "rest", "where": "127.0.0.1:8080", "who": ["token", …], "offsets": [0.0, 0.1, …]}' |
        python -m bench.publishers

Each event is published alone, at its moment, over whichever of the kept connections is free; if none is, it
is late, which whoever counts from the scheduled moment sees. Event n is published by `who[n % len(who)]`: a
token, or for SQL an organisation. Prints for each the scheduled moment and those of the call and its return,
by the monotonic clock.
"""

import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile

import asyncpg

from bench.hookd import EVENT_TYPE
from bench.processes import ROOT
from bench.report import CannotRun

PAD = 300
"""Characters beside the number, so that the whole body has about 450 bytes."""
AHEAD = 0.2
"""Seconds from the start to the first scheduled moment."""

Publish = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish, by "rest" or "sql", and when, in seconds from the start.

    `where`: the API's address, or Postgres' URL.
    """

    kind: str
    where: str
    who: Sequence[str]
    offsets: Sequence[float]
    connections: int = 1
    first: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """Moments of one event by the monotonic clock."""

    scheduled: float
    called: float
    returned: float


def publish(order: Order) -> list[Published]:
    """Run it in a process of its own; the events' numbers begin at `first`. Error: `CannotRun`."""
    command = [sys.executable, "-m", "bench.publishers"]
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
    return [Published(*moments) for moments in json.loads(done.stdout)]


def data_of(number: int) -> str:
    """Return the data of an event as JSON text."""
    return f'{{"number":{number},"pad":"{random.Random(number).randbytes(PAD // 2).hex()}"}}'


async def rest(order: Order) -> Publish:
    """Open a kept connection and return what publishes over it."""
    host, _, port = order.where.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lead = f"POST /events HTTP/1.1\r\nHost: {order.where}\r\nContent-Type: application/json\r\n"

    async def send(number: int) -> None:
        token = order.who[number % len(order.who)]
        body = f'{{"type":"{EVENT_TYPE}","data":{data_of(number)}}}'
        head = f"{lead}Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        said = await reader.readexactly(int(length))
        if b" 202 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(f"the API refused an event: {(answer + said).decode()}")

    return send


async def sql(order: Order) -> Publish:
    """Open a connection to Postgres and return what publishes over it, each event a transaction."""
    connection = await asyncpg.connect(order.where)

    async def send(number: int) -> None:
        org = order.who[number % len(order.who)]
        await connection.fetchval("select hookd.publish($1, $2, $3)", org, EVENT_TYPE, data_of(number))

    return send


async def keep_to(order: Order) -> list[Published]:
    """Publish everything at its moment."""
    connect = {"rest": rest, "sql": sql}[order.kind]
    free: asyncio.Queue[Publish] = asyncio.Queue()
    for _ in range(order.connections):
        free.put_nowait(await connect(order))
    begin = time.monotonic() + AHEAD

    async def one(number: int, scheduled: float, send: Publish) -> Published:
        called = time.monotonic()
        await send(number)
        returned = time.monotonic()
        free.put_nowait(send)
        return Published(scheduled, called, returned)

    async with asyncio.TaskGroup() as group:
        tasks = []
        for place, offset in enumerate(order.offsets):
            if (wait := begin + offset - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            send = await free.get()
            tasks.append(group.create_task(one(order.first + place, begin + offset, send)))
    return [task.result() for task in tasks]


def main() -> None:
    """Read the order, publish, and print the moments."""
    gc.disable()  # with tens of thousands of tasks it would stand still for up to 60 ms, and events be late
    order = Order(**json.load(sys.stdin))
    print(json.dumps([list(asdict(one).values()) for one in asyncio.run(keep_to(order))]))


if __name__ == "__main__":
    main()
