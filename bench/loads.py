"""Requests without a database, to compare with: the floor, and httpx as it comes; each in its own process.

    echo '{"urls": […], "requests": 10000, "body_bytes": 450}' | python -m bench.loads floor|httpx

The floor is httptools on Trio: the same request again and again on kept connections, nothing signed, nothing
checked but that the answer is whole. Both have 64 requests under way. Prints what was measured as JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from tempfile import TemporaryFile
from urllib.parse import urlsplit

import httptools
import httpx
import trio

from bench.figures import Run
from bench.processes import ROOT
from bench.report import CannotRun

CONCURRENCY = 64
# As many bytes as the daemon's own, so that what is sent is the same.
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "hookd/0.1.0",
    "webhook-id": "018f6d1e-6a00-7000-8000-000000000001",
    "webhook-timestamp": "1767225600",
    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    "X-Alter-Event": "match.proposed",
    "X-Alter-Delivery": "018f6d1e-6a00-7000-8000-000000000002",
    "X-Alter-Signature": "5" * 64,
}


def load(kind: str, urls: Sequence[str], *, requests: int, body_bytes: int = 450) -> Run:
    """Run one load in a process of its own. Error: `CannotRun`."""
    order = json.dumps({"urls": list(urls), "requests": requests, "body_bytes": body_bytes})
    command = [sys.executable, "-m", "bench.loads", kind]
    with TemporaryFile("w+") as errors:
        done = subprocess.run(
            command, input=order, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, check=False
        )
        errors.seek(0)
        if done.returncode:
            raise CannotRun(f"{' '.join(command)} failed: {errors.read().strip()[-1000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


class _Answers:
    """Counts whole answers of one connection."""

    def __init__(self) -> None:
        self.done = False
        self._parser = httptools.HttpResponseParser(self)
        self.feed = self._parser.feed_data

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            raise RuntimeError(f"the receiver answered {self._parser.get_status_code()}")
        self.done = True


async def floor(urls: Sequence[str], requests: int, body_bytes: int) -> None:
    """Send `requests` over 64 kept connections."""
    turns = iter(range(requests))

    async def work(url: str) -> None:
        parts = urlsplit(url)
        fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}Content-Length: {body_bytes}\r\n"
        )
        request = head.encode() + b"\r\n" + b"x" * body_bytes
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
        answers = _Answers()
        async with stream:
            for _ in turns:
                await stream.send_all(request)
                answers.done = False
                while not answers.done:
                    data = await stream.receive_some(65536)
                    if not data:
                        raise RuntimeError("the receiver closed the connection")
                    answers.feed(data)

    await _together(work, urls)


async def stock_httpx(urls: Sequence[str], requests: int, body_bytes: int) -> None:
    """Send `requests`, 64 at once, through one client with its default settings."""
    body = b"x" * body_bytes
    turns: Iterator[str] = (urls[n % len(urls)] for n in range(requests))
    async with httpx.AsyncClient(trust_env=False) as client:

        async def work(_: str) -> None:
            for url in turns:
                answer = await client.post(url, content=body, headers=HEADERS)
                answer.raise_for_status()

        await _together(work, urls)


async def _together(work: Callable[[str], Awaitable[None]], urls: Sequence[str]) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(CONCURRENCY):
            nursery.start_soon(work, urls[number % len(urls)])


KINDS = {"floor": floor, "httpx": stock_httpx}


def main() -> None:
    """Read the order, send, and print rate and processor time."""
    order = json.load(sys.stdin)
    wall, cpu = time.perf_counter(), time.process_time()
    trio.run(KINDS[sys.argv[1]], order["urls"], order["requests"], order["body_bytes"])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"rate_per_s": order["requests"] / wall, "cpu_us": cpu / order["requests"] * 1e6}))


if __name__ == "__main__":
    main()
