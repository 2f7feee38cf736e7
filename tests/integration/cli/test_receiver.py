from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from daemon.cli.receiver import Request, serve_receiver


class Receiver:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> int:
        self.requests.append(request)
        return 503 if request.target == "/flaky" else 204

    async def closes(self, send: bytes) -> bytes:
        """Send bytes, and return what comes back until the connection ends."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(send)
            return b"".join([piece async for piece in stream])


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> AsyncIterator[Receiver]:
    made = Receiver()
    made.port = await nursery.start(serve_receiver, made.answer)
    with trio.fail_after(20):
        yield made


async def test_requests_on_one_connection_are_each_answered(receiver: Receiver) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for path, status in (("/inbox", 204), ("/flaky", 503), ("/inbox?x=1", 204)):
            response = await client.post(receiver.url + path, content=b"body", headers={"Webhook-Id": "a"})
            assert (response.status_code, response.content) == (status, b"")
    assert [request.target for request in receiver.requests] == ["/inbox", "/flaky", "/inbox?x=1"]
    assert {request.body for request in receiver.requests} == {b"body"}
    assert {request.headers["webhook-id"] for request in receiver.requests} == {"a"}


async def test_a_body_may_come_in_pieces(receiver: Receiver) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"x" * 200_000):
            await trio.lowlevel.checkpoint()
            yield piece

    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(receiver.url + "/inbox", content=pieces())).status_code == 204
    assert receiver.requests[0].body == b"one" + b"x" * 200_000


async def test_a_client_may_ask_for_the_connection_to_end(receiver: Receiver) -> None:
    request = b"POST /inbox HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert (await receiver.closes(request)).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 not HTTP\r\n\r\n", b"POST /inbox HTTP/1.1\r\n\r\n"])
async def test_what_is_not_http_ends_that_connection_only(receiver: Receiver, garbage: bytes) -> None:
    assert await receiver.closes(garbage) == b""
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(receiver.url + "/inbox", content=b"")).status_code == 204


async def test_a_client_that_leaves_in_the_middle_does_no_harm(receiver: Receiver) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", receiver.port)
    await stream.send_all(b"POST /inbox HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    await stream.aclose()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(receiver.url + "/inbox", content=b"whole")).status_code == 204
    assert [request.body for request in receiver.requests] == [b"whole"]
