"""Receivers that are away for a moment: what failed meanwhile arrives when they are back, not hours later."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio
import trustme

from tests.support.daemon import running
from tests.support.egress_harness import OK, read_request, receiver
from tests.support.publishing import publish_many, rows

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
ERRORS = {
    "refused": "connect_refused",
    "reset": "connection_lost",
    "busy": "status_5xx",
    "tls": "tls_failed",
}


class Receiver:
    """Answers at one port, over TLS where it has a context; `away` says how it fails meanwhile."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.away = ""
        self.port = 0
        self.answered = 0
        self._came = trio.Event()
        self._context = context
        self._listening = AsyncExitStack()
        self._is_open = False

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self.away == "tls":
            return
        encrypted: trio.abc.Stream = stream
        if self._context is not None:
            encrypted = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        while await read_request(encrypted):
            if self.away:
                if self.away == "busy":
                    await encrypted.send_all(BUSY)
                return
            self.answered += 1
            self._came.set()
            self._came = trio.Event()
            await encrypted.send_all(OK)
            if self._context is not None:
                return  # each handshake is a new one

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with self._listening:
            await self.come()
            yield

    async def come(self) -> None:
        self.away = ""
        if not self._is_open:
            self.port = await self._listening.enter_async_context(receiver(self._serve, port=self.port))
        self._is_open = True

    async def go(self, how: str) -> None:
        self.away = how
        if how == "refused":
            await self._listening.aclose()
            self._is_open = False

    async def until(self, count: int) -> None:
        with trio.fail_after(15):
            while self.answered < count:
                await self._came.wait()


@pytest.mark.parametrize("how", ERRORS)
async def test_what_failed_while_a_receiver_was_away_comes_when_it_is_back(
    tmp_path: Path, postgres_url: str, how: str
) -> None:
    authority, context = trustme.CA(), None
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    if how == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    settings = {"egress__ca_file": str(bundle), "delivery__retry_schedule": ["1h", "1h"]}
    org, one = uuid4(), Receiver(context)
    async with one.listening(), running(tmp_path, postgres_url, **settings) as daemon:
        await daemon.register(org, f"http{'s' if context else ''}://127.0.0.1:{one.port}/")
        await publish_many(postgres_url, org, 1)
        await one.until(1)
        await one.go(how)
        for count in range(1, 7):
            await publish_many(postgres_url, org, 1)
            await attempts(postgres_url, count)
        await one.come()
        await publish_many(postgres_url, org, 1)
        await one.until(8)
        assert await daemon.stop() == 0
    errors = await rows(postgres_url, "select distinct error from hookd.attempt where error is not null")
    assert [row["error"] for row in errors] == [ERRORS[how]]
    assert await rows(postgres_url, "select from hookd.delivery") == []


async def attempts(url: str, failed: int) -> None:
    """Wait until so many have failed, or what comes waits for the host's circuit."""
    query = (
        "select (select count(*) from hookd.attempt where not succeeded),"
        " (select bool_or(circuit_trips > 0) from hookd.host)"
    )
    with trio.fail_after(15):
        while True:
            [(count, is_open)] = await rows(url, query)
            if count >= failed or is_open:
                return


async def test_one_event_that_always_fails_beside_good_ones_keeps_its_schedule(
    tmp_path: Path, postgres_url: str
) -> None:
    bad, good = uuid4(), 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal good
        while request := await read_request(stream):
            is_bad = b'"number":0' in request.replace(b" ", b"")
            good += not is_bad
            await stream.send_all(BUSY if is_bad else OK)

    async with (
        receiver(answer) as port,
        running(
            tmp_path, postgres_url, delivery__retry_schedule=["1s", "2s", "1h"], delivery__retry_jitter=0
        ) as daemon,
    ):
        await daemon.register(bad, f"http://127.0.0.1:{port}/")
        await publish_many(postgres_url, bad, 1)
        times: list[float] = []
        with trio.fail_after(20):
            while len(times) < 3:
                await publish_others(postgres_url, bad)
                found = await rows(
                    postgres_url,
                    "select extract(epoch from attempted_at)::float8 from hookd.attempt"
                    " where not succeeded order by id",
                )
                times = [row[0] for row in found]
        assert await daemon.stop() == 0
    assert good > 10
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= 0.99 and gaps[1] >= 1.99


async def publish_others(url: str, org: UUID) -> None:
    await rows(url, "select hookd.publish($1, 'match.proposed', '{\"number\": 1}')", org)
