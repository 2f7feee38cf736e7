"""Answers with faults, over real sockets: the status counts, the fault is noted, the connection is closed."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
import trio

from daemon.egress.errors import EgressError
from daemon.egress.imperfections import LATE, LONGER
from daemon.egress.pool import Pool
from tests.support.egress_harness import (
    OK,
    answering,
    closed_pools,  # noqa: F401 (used by every test)
    make_exchange,
    open_sockets,
    post,
    read_request,
    receiver,
    reset,
)
from tests.support.imperfect_answers import IMPERFECT, Imperfect

pytestmark = pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
BIG = 8_000_000
"""Bytes that no socket's buffers take at once."""


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in IMPERFECT])
async def test_the_status_decides_and_the_fault_is_noted(
    one: Imperfect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.egress.connection.LINGER", 0.05)
    pool, before, read = Pool(), open_sockets(), trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(one.answer)
        if one.ending == "hold":
            await stream.receive_some(1)
        elif one.ending == "reset":
            await read.wait()  # a reset overtakes what has not been read
            reset(stream)

    async with receiver(handler) as port, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            await trio.testing.wait_all_tasks_blocked(0.01)
            read.set()

        status, note, code = None, "", None
        try:
            answer = await post(make_exchange(pool=pool), port, timeout=0.3)
            status, note = answer.status, answer.note
            assert answer.late == (one.note == LATE)
        except EgressError as error:
            code = error.code
        kept = len(pool)
        pool.close()
        nursery.cancel_scope.cancel()
    assert (status, code) == (one.status, one.error)
    assert set(note.split("; ")) - {"", LONGER} == {one.note} - {None, LONGER}
    assert not (kept and one.note)
    assert open_sockets() <= before


@pytest.mark.parametrize("status", [302, 401, 410, 413, 429, 500])
@pytest.mark.parametrize("rest", [b"Content-Length: 2\r\n\r\nno", b"\r\n", b"Content-Length: 9\r\n\r\nno"])
async def test_a_refusal_ends_the_sending_of_the_request(
    status: int, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.egress.connection.LINGER", 0.05)
    pool = Pool()

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\n" % status + rest)
        await trio.sleep_forever()  # it neither reads on nor closes

    async with receiver(handler) as port:
        with trio.fail_after(30):
            answer = await post(make_exchange(pool=pool), port, b"x" * BIG, timeout=60)
    assert (answer.status, answer.header(b"retry-after"), answer.late) == (status, b"7", False)
    assert len(pool) == 0


async def test_a_refusal_on_a_kept_connection_ends_the_sending_as_well() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        with trio.fail_after(30):
            answer = await post(exchange, port, b"x" * BIG, timeout=60)
    assert (answer.status, answer.phases.reused) == (413, True)


@pytest.mark.parametrize("half_close", [False, True])
async def test_consent_that_comes_early_lets_the_request_be_sent_to_its_end(half_close: bool) -> None:
    got = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        data = await stream.receive_some(1000)
        await stream.send_all(OK)
        if half_close:
            await stream.send_eof()
        while len(data) < BIG:
            data += await stream.receive_some(1_000_000)
        got.set()

    async with receiver(handler) as port:
        answer = await post(make_exchange(), port, b"x" * BIG)
        assert (answer.status, answer.note) == (200, "")
        with trio.fail_after(30):
            await got.wait()


async def test_consent_counts_though_the_request_is_never_read_to_its_end() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(OK)
        await trio.sleep_forever()

    async with receiver(handler) as port:
        answer = await post(make_exchange(), port, b"x" * BIG, timeout=0.3)
    assert (answer.status, answer.excerpt, answer.late) == (200, b"ok", True)


async def test_an_end_without_an_answer_ends_the_sending() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_eof()
        await trio.sleep_forever()

    async with receiver(handler) as port:
        with trio.fail_after(30), pytest.raises(EgressError) as caught:
            await post(make_exchange(), port, b"x" * BIG, timeout=60)
    assert caught.value.code == "connection_lost"


def leaving(first: bytes, rest: bytes) -> tuple[Callable[[trio.SocketStream], Awaitable[None]], list[int]]:
    """Return a handler whose first connection answers `first`, and `rest` after the next request has come.

    The list counts the requests of each connection.
    """
    requests: list[int] = []

    async def handler(stream: trio.SocketStream) -> None:
        number = len(requests)
        requests.append(0)
        while await read_request(stream):
            requests[number] += 1
            if number:
                await stream.send_all(OK)
            elif requests[number] == 1:
                await stream.send_all(first)
            else:
                await stream.send_all(rest)
                await stream.receive_some(1)
                return

    return handler, requests


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", b"ok"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b"ok"),
    ],
)
async def test_an_answer_without_body_that_tells_of_one_is_the_last_of_its_connection(
    first: bytes, rest: bytes
) -> None:
    handler, requests = leaving(first, rest)
    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        second = await post(exchange, port)
    assert (second.status, second.phases.reused, requests) == (200, False, [1, 1])


@pytest.mark.parametrize("rest", [b"ay", b"0\r\n\r\n", b"lo" + OK, b"\r\nlo"])
async def test_what_is_left_of_the_last_answer_makes_a_kept_connection_dead(rest: bytes) -> None:
    handler, requests = leaving(OK, rest)
    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        with trio.fail_after(30):
            second = await post(exchange, port)
    assert (second.status, second.note, second.phases.reused, requests) == (200, "", False, [2, 1])


async def test_after_such_bytes_no_connection_is_kept_so_that_nothing_more_is_sent_twice() -> None:
    requests = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await read_request(stream):
            requests += 1
            if requests == 2:
                await stream.send_all(b"ay")
                return
            await stream.send_all(OK)

    pool = Pool()
    exchange = make_exchange(pool=pool)
    async with receiver(handler) as port:
        reused = [(await post(exchange, port)).phases.reused for _ in range(6)]
        assert (reused, requests, len(pool)) == ([False] * 6, 7, 0)
        other = uuid4()  # it is a peer of its own
        assert [(await post(exchange, port, owner=other)).phases.reused for _ in range(2)] == [False, True]


async def test_line_breaks_left_of_the_last_answer_do_no_harm() -> None:
    handler, requests = leaving(OK, b"\r\n" + OK)
    exchange = make_exchange()
    async with receiver(handler) as port:
        reused = [(await post(exchange, port)).phases.reused for _ in range(3)]
    assert (reused, requests) == ([False, True, False], [2, 1])


async def test_a_receiver_whose_patience_ended_is_asked_again_on_a_fresh_connection() -> None:
    gone = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    handler, requests = leaving(OK, gone)
    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        assert (await post(exchange, port)).status == 200
        assert requests == [2, 1]
    async with receiver(answering(gone)) as port:
        assert (await post(exchange, port)).status == 408  # on a fresh one it is an answer


async def test_garbage_on_a_fresh_connection_is_no_answer() -> None:
    requests = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        await read_request(stream)
        requests += 1
        await stream.send_all(b"ay" + OK)

    async with receiver(handler) as port:
        with pytest.raises(EgressError) as caught:
            await post(make_exchange(), port)
    assert (caught.value.code, requests) == ("protocol_error", 1)
