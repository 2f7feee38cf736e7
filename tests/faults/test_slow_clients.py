"""Clients that are slow to send or do not read: health checks are answered and the stop is in time."""

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import trio

from tests.support.daemon import Daemon, running, token
from tests.support.scale import FULL, scale

CLIENTS = scale(120, 2_000)
MAX_CONNECTIONS = scale(60, 1_000)  # connections that the daemon takes; more than that try
SECONDS = scale(3.0, 40.0)
STOP_TIMEOUT = scale(10.0, 25.0)
COMING_BACK = scale(0.5, 5.0)  # seconds after which a client that was thrown out comes again
BETWEEN_PROBES = 0.01
P99 = 0.1


@dataclass
class Probes:
    """What the health checks saw: statuses, and seconds to the answer."""

    statuses: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        return sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * part))]

    def __str__(self) -> str:
        return (
            f"{len(self.took)} probes {dict(self.statuses)}, p50 {self.percentile(0.5) * 1000:.1f} ms, "
            f"p99 {self.percentile(0.99) * 1000:.1f} ms, longest {max(self.took) * 1000:.1f} ms"
        )


def probe(address: tuple[str, int], until: Callable[[], bool], probes: Probes) -> None:
    """Ask /health/live over and over, each time on a new connection, as an orchestrator does."""
    while not until():
        began = time.perf_counter()
        try:
            with socket.create_connection(address, timeout=10) as client:
                client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                status = client.recv(4096)[9:12].decode() or "closed"
        except OSError as error:
            status = type(error).__name__
        probes.took.append(time.perf_counter() - began)
        probes.statuses[status] += 1
        time.sleep(BETWEEN_PROBES)


def processor_time(daemon: Daemon) -> float:
    """Return the seconds of processor time that the daemon has used."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class SlowClients:
    """Many bad clients of one daemon; each comes back when it is thrown out."""

    def __init__(self, daemon: Daemon, authorization: str) -> None:
        host, port = daemon.address.removeprefix("http://").split(":")
        self.address = (host, int(port))
        self.connections = 0
        self.kept: Counter[str] = Counter()
        headers = f"Host: x\r\nAuthorization: Bearer {authorization}\r\nContent-Type: application/json\r\n"
        self.kinds: dict[str, tuple[bytes, bytes]] = {  # what each sends at once, and then again and again
            "header": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n", b"X: x\r\n"),
            "body": (f"POST /events HTTP/1.1\r\n{headers}Content-Length: 9000\r\n\r\n".encode(), b" "),
            "chunks": (
                f"POST /events HTTP/1.1\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode(),
                b"1\r\n \r\n",
            ),
            "silent": (b"", b""),
            "deaf": (f"GET /webhooks?limit=50 HTTP/1.1\r\n{headers}\r\n".encode() * 2, b""),
        }

    async def run(self, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(self._one, list(self.kinds)[number % len(self.kinds)])

    async def _one(self, kind: str) -> None:
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                await self._stay(kind)
            await trio.sleep(COMING_BACK * random.uniform(0.5, 1.5))

    async def _stay(self, kind: str) -> None:
        begin, more = self.kinds[kind]
        with trio.socket.socket() as client:
            if kind == "deaf":  # what the kernel holds for it is little, too
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            await client.connect(self.address)
            self.connections += 1
            self.kept[kind] += 1
            try:
                stream = trio.SocketStream(client)
                await stream.send_all(begin)
                while kind == "deaf":
                    await trio.sleep(1)
                    await stream.send_all(b"\r\n")  # shows that the connection is gone
                with trio.move_on_after(0 if more else 3600):
                    await stream.receive_some(1)
                while True:
                    with trio.move_on_after(1):
                        if not await stream.receive_some(4096):
                            return
                    await stream.send_all(more)
            finally:
                self.kept[kind] -= 1


async def test_slow_clients_lock_nobody_out(tmp_path: Path, postgres_url: str) -> None:
    org = uuid4()
    settings = {
        "api__max_connections": MAX_CONNECTIONS,
        "api__read_timeout": "30s",
        "daemon__stop_timeout": f"{STOP_TIMEOUT}s",
        "delivery__concurrency": 16,
    }
    async with running(tmp_path, postgres_url, **settings) as daemon:
        async with daemon.client(org, "org_admin") as client:  # so that an answer is longer than the buffers
            for number in range(50):
                url = f"https://example.com/{number}/{'x' * 2000}"
                answer = await client.post("/webhooks", json={"url": url, "events": ["match.proposed"]})
                assert answer.status_code == 201, answer.text
        slow = SlowClients(daemon, token(org, "publisher"))
        quiet, probes = Probes(), Probes()
        until = trio.current_time() + 1
        clock = trio.lowlevel.current_clock()
        await trio.to_thread.run_sync(probe, slow.address, lambda: clock.current_time() > until, quiet)
        worked = processor_time(daemon)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.run, CLIENTS)
            end = trio.current_time() + SECONDS
            await trio.to_thread.run_sync(probe, slow.address, lambda: clock.current_time() > end, probes)
            held = {kind: count for kind, count in slow.kept.items() if count}
            async with daemon.client(org) as client:
                assert (await client.get("/webhooks?limit=1")).status_code == 200
            resident, worked = daemon.resident(), processor_time(daemon) - worked
            began = time.monotonic()
            status = await daemon.stop(STOP_TIMEOUT + 10)
            took = time.monotonic() - began
            nursery.cancel_scope.cancel()
    log = daemon.log.read_text()
    print(
        f"\n{CLIENTS} slow clients made {slow.connections} connections, held at the end {held}"
        f"\nbefore: {quiet}\nmeanwhile: {probes}"
        f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, the daemon {worked / SECONDS:.0%} of one"
        f"\nresident {resident >> 20} MiB; stopped in {took:.2f} s of {STOP_TIMEOUT} s"
    )
    assert set(probes.statuses) == {"200"}
    assert status == 0
    assert "Traceback" not in log
    if FULL:  # alone on the machine
        assert took < STOP_TIMEOUT
        assert probes.percentile(0.99) < P99
