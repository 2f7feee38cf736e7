"""The exchange behind httpx's interface, put together as the daemon does it."""

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import httpx
import pytest
import trio

from daemon.egress.assemble import make_exchange
from daemon.egress.errors import EgressError
from daemon.egress.nameserver import nameserver_lookup
from daemon.egress.pool import Pool
from daemon.egress.resolver import ThreadedResolver
from daemon.egress.transport import GuardedTransport
from tests.support.egress_harness import LOOPBACK, OK, answering, read_request, receiver, served, unused_port

RECORDS = {
    "receiver.test.": ["127.0.0.1"],
    "both.test.": ["192.0.2.1", "2001:db8::1"],
    "rebound.test.": ["127.0.0.1", "10.0.0.1"],
}


@contextmanager
def nameserver(*, silent: bool = False) -> Iterator[int]:
    """Answer from RECORDS on a UDP port of 127.0.0.1, or not at all."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            packet, peer = server.recvfrom(4096)
            if not packet:
                return
            if silent:
                continue
            query = dns.message.from_wire(packet)
            question = query.question[0]
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA
            addresses = RECORDS.get(question.name.to_text())
            if addresses is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            else:
                family = {1: 4, 28: 6}.get(int(question.rdtype))
                fitting = [text for text in addresses if ip_address(text).version == family]
                if fitting:
                    reply.answer.append(
                        dns.rrset.from_text_list(question.name, 60, "IN", question.rdtype, fitting)
                    )
            server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"", server.getsockname())
        thread.join()
        server.close()


async def failure(host: str, port: int, *, timeout: float = 5.0) -> EgressError:
    resolver = ThreadedResolver(nameserver_lookup("127.0.0.1", port, timeout=timeout))
    with pytest.raises(EgressError) as caught:
        await resolver.resolve(host, 443)
    return caught.value


async def test_a_nameserver_is_asked_for_both_kinds_of_address() -> None:
    with nameserver() as port:
        resolver = ThreadedResolver(nameserver_lookup("127.0.0.1", port))
        found = await resolver.resolve("both.test", 443)
    assert set(found) == {ip_address("192.0.2.1"), ip_address("2001:db8::1")}


async def test_a_nameserver_that_knows_no_such_name_is_a_dns_failure() -> None:
    with nameserver() as port:
        assert (await failure("nobody.test", port)).code == "dns_failed"


async def test_a_nameserver_that_does_not_answer_is_a_dns_timeout() -> None:
    with nameserver(silent=True) as port:
        assert (await failure("receiver.test", port, timeout=0.2)).code == "dns_timeout"


def transport(nameserver_port: int, **settings: bool | int) -> GuardedTransport:
    exchange = make_exchange(pool=Pool(), allow_networks=[LOOPBACK], resolver=f"127.0.0.1:{nameserver_port}")
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

    with nameserver() as dns_port:
        client = httpx.AsyncClient(transport=transport(dns_port), trust_env=False)
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

    with nameserver() as dns_port:
        client = httpx.AsyncClient(transport=transport(dns_port), trust_env=False)
        async with (
            receiver(handler) as port,
            client,
            client.stream("GET", f"http://receiver.test:{port}/") as answer,
        ):
            assert b"".join([piece async for piece in answer.aiter_raw()]) == packed


async def test_httpx_cannot_get_past_the_guard() -> None:
    with nameserver() as dns_port:
        async with httpx.AsyncClient(transport=transport(dns_port), trust_env=False) as client:
            with pytest.raises(httpx.TransportError, match="address_forbidden"):
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
    with nameserver() as dns_port:
        client = httpx.AsyncClient(transport=transport(dns_port, max_body=1), trust_env=False)
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

    with nameserver() as dns_port:
        client = httpx.AsyncClient(transport=transport(dns_port), trust_env=False)
        async with receiver(handler) as port, client:
            began = trio.current_time()
            with pytest.raises(EgressError) as caught:
                await client.get(f"http://receiver.test:{port}/", **options)
    assert caught.value.code == "timeout"
    assert trio.current_time() - began < 1


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
        make_exchange(pool=Pool(), **settings)  # type: ignore[arg-type]
