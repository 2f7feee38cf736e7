"""Receivers that are broken, slow or malicious: each ends in one code, in time, with its socket closed."""

# Covers daemon.egress.deadline_watcher.

import errno
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from daemon.egress.errors import EgressError, Fault
from daemon.egress.pool import Pool
from tests.support.egress_harness import (
    OK,
    FakeResolver,
    Handler,
    StuckResolver,
    black_hole,
    closed_pools,  # noqa: F401 (used by every test)
    closing_after,
    make_exchange,
    open_sockets,
    post,
    read_request,
    receiver,
    reset,
    unused_port,
)

pytestmark = pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
HEAD = b"HTTP/1.1 200 OK\r\n"


async def failure(port: int, *, timeout: float = 5.0, body: bytes = b"{}", max_response: int = 65536) -> str:
    """Return the code that a post fails with, having checked that it kept its deadline and sockets."""
    before = open_sockets()
    with trio.fail_after(timeout + 30), pytest.raises(EgressError) as caught:
        await post(make_exchange(max_response=max_response), port, body, timeout=timeout)
    assert caught.value.phases.total is not None
    await trio.testing.wait_all_tasks_blocked()
    assert open_sockets() <= before + 1  # the receiver's own end may still be open
    return caught.value.code


def repeating(start: bytes, piece: bytes, pause: float = 0.0) -> Handler:
    """Return a handler that sends `start`, and then `piece` for ever."""

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(start)
        while True:
            await stream.send_all(piece)
            await trio.sleep(pause)

    return handler


async def silent(stream: trio.SocketStream) -> None:
    await read_request(stream)
    await trio.sleep_forever()


@pytest.mark.parametrize("start", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\nX: "])
async def test_a_byte_now_and_then_does_not_stretch_the_deadline(start: bytes) -> None:
    piece = b" " if start.endswith(b"200") else b"a"
    async with receiver(repeating(start, piece, 0.01)) as port:
        assert await failure(port, timeout=0.2) == "timeout"


async def test_a_body_that_trickles_does_not_stretch_the_deadline_and_its_status_counts() -> None:
    before = open_sockets()
    async with receiver(repeating(HEAD + b"Content-Length: 1000\r\n\r\n", b"a", 0.01)) as port:
        answer = await post(make_exchange(), port, timeout=0.2)
    assert (answer.status, answer.late, answer.note) == (200, True, "the body did not end in time")
    assert answer.excerpt
    assert answer.phases.total is not None
    assert answer.phases.total >= 0.2
    assert open_sockets() == before


async def test_after_a_malformed_head_the_body_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("daemon.egress.connection.LINGER", 0.05)
    async with receiver(repeating(b"HTTP/1.1 200 OK\nX: y\n\n", b"a", 0.01)) as port:
        with trio.fail_after(30):
            answer = await post(make_exchange(), port, timeout=3600)
    assert (answer.status, answer.late, answer.note) == (200, False, "lines end without CR")


async def test_no_answer_is_a_timeout() -> None:
    async with receiver(silent) as port:
        assert await failure(port, timeout=0.1) == "timeout"


async def test_a_request_that_nobody_reads_is_a_timeout() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with receiver(handler) as port:
        assert await failure(port, timeout=0.2, body=b"x" * 20_000_000) == "timeout"


async def test_a_deadline_of_nothing_is_a_timeout_before_anything_is_done() -> None:
    with pytest.raises(EgressError) as caught:
        await post(make_exchange(StuckResolver()), 1, timeout=-1)
    assert caught.value.code == "dns_timeout"


@pytest.mark.parametrize("start", [HEAD, HEAD + b"X: ", b"HTTP/1.1 200 ", b"HTTP/1.1 100 Continue\r\nA: "])
async def test_endless_headers_are_too_large(start: bytes) -> None:
    piece = b"A: b\r\n" * 100 if start == HEAD else b"a" * 1000
    async with receiver(repeating(start, piece)) as port:
        assert await failure(port, max_response=10_000) == "response_too_large"  # after MAX_HEAD


@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 999999999999\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_an_endless_body_still_gives_the_status(framing: bytes) -> None:
    piece = b"5\r\naaaaa\r\n" if b"chunked" in framing else b"a" * 10
    before = open_sockets()
    async with receiver(repeating(HEAD + framing + b"\r\n", piece)) as port:
        answer = await post(make_exchange(max_response=20_000, excerpt=100), port)
    assert (answer.status, answer.truncated, answer.excerpt) == (200, True, b"a" * 100)
    assert open_sockets() == before


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "connection_lost"),
        (b"HTTP/1.1 20", "connection_lost"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol_error"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "protocol_error"),
        (b"<html>400 Bad Request</html>", "protocol_error"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol_error"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "connection_lost"),
    ],
)
async def test_half_answers_and_nonsense_are_named(answer: bytes, code: str) -> None:
    async with receiver(closing_after(answer)) as port:
        assert await failure(port) == code


async def test_a_flood_of_interim_responses_is_ended() -> None:
    async with receiver(repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)) as port:
        assert await failure(port) == "response_too_large"


async def test_a_reset_instead_of_an_answer_is_a_lost_connection() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        reset(stream)

    async with receiver(handler) as port:
        assert await failure(port) == "connection_lost"


async def test_a_reset_at_once_is_a_lost_connection() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        reset(stream)

    async with receiver(handler) as port:
        assert await failure(port) == "connection_lost"


@pytest.mark.parametrize("size", [2, 5_000_000])
async def test_an_answer_before_the_request_was_read_counts(size: int) -> None:
    """The receiver refuses (413) and closes with most of the body unread, which resets the connection."""

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(10)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    before = open_sockets()
    pool = Pool()
    async with receiver(handler) as port:
        answer = await post(make_exchange(pool=pool), port, b"x" * size)
        pool.close()
    assert answer.status == 413
    assert open_sockets() == before


async def test_nobody_listening_is_refused() -> None:
    assert await failure(unused_port()) == "connect_refused"


async def test_a_full_backlog_is_a_connect_timeout() -> None:
    with black_hole() as port:
        with pytest.raises(EgressError) as caught:
            await post(make_exchange(), port, timeout=0.2)
        assert (caught.value.code, caught.value.fault) == ("connect_timeout", Fault.DEADLINE)
        with pytest.raises(EgressError) as caught:  # by the bound of the attempt, not the deadline
            await post(make_exchange(connect_timeout=0.1), port)
        assert (caught.value.code, caught.value.fault) == ("connect_timeout", Fault.HOST)
        assert caught.value.phases.reached == "connect"


async def test_a_stuck_resolver_is_a_dns_timeout() -> None:
    with pytest.raises(EgressError) as caught:
        await post(make_exchange(StuckResolver()), 80, timeout=0.1)
    assert (caught.value.code, caught.value.fault) == ("dns_timeout", Fault.REQUEST)


async def test_an_address_that_was_given_too_little_time_is_not_held_against_the_host() -> None:
    with black_hole() as port:  # of 127.0.0.1; nobody listens at the other address
        exchange = make_exchange(FakeResolver(["127.0.0.1", "127.0.0.2"]))
        with pytest.raises(EgressError) as caught:
            await post(exchange, port, timeout=0.2)
        assert (caught.value.code, caught.value.fault) == ("connect_timeout", Fault.DEADLINE)
        exchange = make_exchange(FakeResolver(["127.0.0.1", "127.0.0.2"]), connect_timeout=0.1)
        with pytest.raises(EgressError) as caught:
            await post(exchange, port)
        assert (caught.value.code, caught.value.fault) == ("connect_refused", Fault.HOST)


async def test_a_shortage_of_this_daemon_is_not_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    exchange = make_exchange()
    monkeypatch.setattr("daemon.egress.socket_stream.socket.socket", no_more)
    with pytest.raises(EgressError) as caught:
        await post(exchange, 80)
    assert (caught.value.code, caught.value.fault) == ("connect_failed", Fault.DAEMON)
    assert "raise its limit" in caught.value.detail


async def test_an_unreachable_network_is_named() -> None:
    # The kernel connects no TCP socket to the broadcast address.
    exchange = make_exchange(FakeResolver(["255.255.255.255"]), allow=["0.0.0.0/0"])
    with pytest.raises(EgressError) as caught:
        await post(exchange, 80, timeout=1)
    assert caught.value.code == "connect_failed"


async def cancel_when(
    started: Callable[[], Awaitable[None]], request: Callable[[], Awaitable[object]]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)
        await started()
        nursery.cancel_scope.cancel()


async def test_cancelling_during_dns_leaves_no_socket() -> None:
    before = open_sockets()
    resolver = StuckResolver()
    await cancel_when(resolver.asked.wait, lambda: post(make_exchange(resolver), 80))
    assert open_sockets() == before


async def test_cancelling_during_connect_leaves_no_socket() -> None:
    with black_hole() as port:
        before = open_sockets()
        await cancel_when(trio.testing.wait_all_tasks_blocked, lambda: post(make_exchange(), port))
        assert open_sockets() == before


@pytest.mark.parametrize(
    ("scheme", "reads", "answer", "size"),
    [
        ("https", True, b"", 2),  # in the TLS handshake
        ("http", False, b"", 20_000_000),  # while writing
        ("http", True, b"", 2),  # while waiting for the answer
        ("http", True, HEAD + b"Content-Length: 100\r\n\r\nhalf", 2),  # within the answer
    ],
)
async def test_cancelling_after_connect_leaves_no_socket(
    scheme: str, reads: bool, answer: bytes, size: int
) -> None:
    accepted = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        if reads:
            await stream.receive_some(65536)
            await stream.send_all(answer)
        accepted.set()
        await trio.sleep_forever()

    async def started() -> None:
        await accepted.wait()
        await trio.testing.wait_all_tasks_blocked()

    before = open_sockets()
    async with receiver(handler) as port:
        await cancel_when(started, lambda: post(make_exchange(), port, b"x" * size, scheme=scheme))
        assert open_sockets() == before + 2  # the listener and the receiver's end
    assert open_sockets() == before


async def test_cancelling_on_a_kept_connection_does_not_keep_it() -> None:
    requests = 0
    asked_again = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await read_request(stream):
            requests += 1
            if requests > 1:
                asked_again.set()
                await trio.sleep_forever()
            await stream.send_all(OK)

    before = open_sockets()
    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        await cancel_when(asked_again.wait, lambda: post(exchange, port))
    assert open_sockets() == before
