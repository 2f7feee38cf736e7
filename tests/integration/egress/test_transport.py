"""The exchange behind httpx's interface, put together as the daemon does it."""

import gzip
from typing import Any

import httpx
import pytest
import trio

from daemon.egress.assemble import NetworkSettings, make_exchange
from daemon.egress.errors import EgressError
from daemon.egress.pool import Pool
from daemon.egress.transport import GuardedTransport
from tests.support.egress_harness import LOOPBACK, OK, answering, read_request, receiver, served, unused_port
from tests.support.nameserver import nameserver, zone

RECORDS = {"receiver.test.": ["127.0.0.1"], "rebound.test.": ["127.0.0.1", "10.0.0.1"]}


def transport(nameserver_port: int, **settings: bool | int) -> GuardedTransport:
    exchange = make_exchange(
        NetworkSettings([LOOPBACK], resolver=f"127.0.0.1:{nameserver_port}"), pool=Pool()
    )
    return GuardedTransport(served(exchange), **{"https_only": False, **settings})  # type: ignore[arg-type]


async def test_httpx_sends_through_the_guard() -> None:
    seen = []

    async def handler(stream: trio.SocketStream) -> None:
        while request := await read_request(stream):
            seen.append(request)
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                b'8\r\n{"a": 1}\r\n0\r\n\r\n'
            )

    async with nameserver(zone(RECORDS)) as names:
        client = httpx.AsyncClient(transport=transport(names.port), trust_env=False)
        async with receiver(handler) as port, client:
            got = await client.get(f"http://receiver.test:{port}/keys?a=b")
            posted = await client.post(f"http://receiver.test:{port}/", json={"b": 2})
    assert (got.status_code, got.json(), got.headers["content-type"]) == (200, {"a": 1}, "application/json")
    assert got.extensions["phases"].connect is not None
    assert posted.extensions["phases"].reused
    assert seen[0].startswith(b"GET /keys?a=b HTTP/1.1\r\nHost: receiver.test:%d\r\n" % port)
    assert (
        seen[0].lower().count(b"accept-encoding: identity") == seen[0].lower().count(b"accept-encoding") == 1
    )
    assert seen[1].endswith(b'\r\n\r\n{"b":2}')


async def test_a_compressed_answer_is_not_unpacked_unasked() -> None:
    packed = gzip.compress(b" " * 10**6)

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        await stream.send_all(head + packed)

    async with nameserver(zone(RECORDS)) as names:
        client = httpx.AsyncClient(transport=transport(names.port), trust_env=False)
        async with (
            receiver(handler) as port,
            client,
            client.stream("GET", f"http://receiver.test:{port}/") as answer,
        ):
            assert b"".join([piece async for piece in answer.aiter_raw()]) == packed


async def test_httpx_cannot_get_past_the_guard() -> None:
    async with (
        nameserver(zone(RECORDS)) as names,
        httpx.AsyncClient(transport=transport(names.port), trust_env=False) as client,
    ):
        with pytest.raises(EgressError, match="address_forbidden"):
            await client.get("http://rebound.test/")
        with pytest.raises(EgressError) as caught:
            await client.get("http://user:word@receiver.test/")
        assert (caught.value.code, caught.value.rule) == ("url_invalid", "userinfo")
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.head("http://receiver.test/")


async def test_httpx_sends_only_over_https_unless_told_otherwise() -> None:
    guarded = transport(unused_port(), https_only=True)
    async with httpx.AsyncClient(transport=guarded, trust_env=False) as client:
        with pytest.raises(EgressError) as caught:
            await client.get("http://receiver.test/")
    assert caught.value.code == "scheme_forbidden"


async def test_half_a_document_is_no_document() -> None:
    async with nameserver(zone(RECORDS)) as names:
        client = httpx.AsyncClient(transport=transport(names.port, max_body=1), trust_env=False)
        async with receiver(answering(OK)) as port, client:
            with pytest.raises(EgressError) as caught:
                await client.get(f"http://receiver.test:{port}/")
    assert caught.value.code == "response_too_large"


@pytest.mark.parametrize("options", [{"extensions": {"deadline": 0.2}}, {"timeout": 0.2}])
async def test_httpx_requests_have_one_deadline(options: dict[str, Any]) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"\r\n")
            await trio.sleep(0.01)

    async with nameserver(zone(RECORDS)) as names:
        client = httpx.AsyncClient(transport=transport(names.port), trust_env=False)
        async with receiver(handler) as port, client:
            with trio.fail_after(30), pytest.raises(EgressError) as caught:
                await client.get(f"http://receiver.test:{port}/", **options)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"allow_networks": ["10.0.0.1/8"]}, r"egress\.allow_networks"),
        ({"deny_networks": ["example.com"]}, r"egress\.deny_networks"),
        ({"ca_file": "/nonexistent/ca.pem"}, r"egress\.ca_file"),
        ({"resolver": "dns.test"}, r"egress\.resolver"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_exchange(NetworkSettings(**settings), pool=Pool())  # type: ignore[arg-type]
