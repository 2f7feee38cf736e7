"""What a well-behaved receiver gets and gives."""

from ipaddress import ip_address
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.dialer import Dialer
from daemon.egress.errors import EgressError
from daemon.egress.exchange import Exchange
from daemon.egress.guard import Guard
from daemon.egress.pool import Pool
from daemon.egress.tls import client_context
from daemon.egress.url import parse_url
from tests.support.egress_harness import (
    LOOPBACK,
    OK,
    FakeResolver,
    answering,
    closed_pools,  # noqa: F401 (used by every test)
    closing_after,
    make_exchange,
    post,
    read_request,
    receiver,
    reset,
    unused_port,
)


async def test_the_receiver_gets_the_request_and_we_the_answer() -> None:
    seen = []

    async def handler(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nfine")

    async with receiver(handler) as port:
        answer = await post(make_exchange(), port, b'{"a":1}')
    assert seen[0].startswith(b"POST /hook HTTP/1.1\r\nHost: receiver.test:%d\r\n" % port)
    assert b"Accept-Encoding: identity\r\n" in seen[0]
    assert seen[0].endswith(b'Content-Length: 7\r\n\r\n{"a":1}')
    assert (answer.status, answer.excerpt, answer.truncated) == (202, b"fine", False)
    assert answer.header(b"retry-after") == b"7"
    assert answer.header(b"x-none") is None


async def test_phases_are_timed() -> None:
    exchange = make_exchange()
    async with receiver(answering(OK)) as port:
        first = (await post(exchange, port)).phases
        second = (await post(exchange, port)).phases
    assert first.dns is not None
    assert first.connect is not None
    assert first.tls is None
    assert first.first_byte is not None
    assert first.total is not None
    assert 0 < first.connect + first.first_byte <= first.total < 5
    assert (second.dns, second.connect, second.reused, second.reached) == (None, None, True, "request")


async def test_a_redirect_is_an_answer_and_cookies_are_not_kept() -> None:
    seen = []

    async def handler(stream: trio.SocketStream) -> None:
        while request := await read_request(stream):
            seen.append(request)
            await stream.send_all(
                b"HTTP/1.1 307 Moved\r\nLocation: /other\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            )

    exchange = make_exchange()
    async with receiver(handler) as port:
        assert [(await post(exchange, port)).status for _ in range(2)] == [307, 307]
    assert len(seen) == 2
    assert seen[0] == seen[1]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_proxies_of_the_environment_are_not_used(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{unused_port()}")
    async with receiver(answering(OK)) as port:
        assert (await post(make_exchange(), port)).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
async def test_a_clean_answer_lets_the_connection_be_used_again(answer: bytes) -> None:
    exchange = make_exchange()
    async with receiver(answering(answer)) as port:
        reused = [(await post(exchange, port)).phases.reused for _ in range(3)]
    assert reused == [False, True, True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
        OK + OK,
        OK + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
    ],
)
async def test_any_other_answer_is_the_last_of_its_connection(answer: bytes) -> None:
    pool = Pool()
    exchange = make_exchange(pool=pool)
    async with receiver(answering(answer)) as port:
        answers = [await post(exchange, port) for _ in range(2)]
    assert [(one.status, one.phases.reused) for one in answers] == [(200, False)] * 2
    assert len(pool) == 0


@pytest.mark.parametrize("start", [b"", OK[:20]])
async def test_the_deadline_holds_on_a_kept_connection_as_well(start: bytes) -> None:
    ended = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await read_request(stream)
        if start:
            await stream.send_all(start)
        await stream.receive_some(1)
        ended.set()

    pool = Pool()
    exchange = make_exchange(pool=pool)
    async with receiver(handler) as port:
        await post(exchange, port)
        with pytest.raises(EgressError) as caught:
            await post(exchange, port, timeout=0.2)
        assert (caught.value.code, caught.value.phases.reused) == ("timeout", True)
        assert (caught.value.phases.total or 0) >= 0.2
        with trio.fail_after(30):
            await ended.wait()
    assert len(pool) == 0


async def test_an_exchange_that_nobody_serves_refuses_to_wait_for_a_kept_connection() -> None:
    pool = Pool()
    exchange = Exchange(
        dialer=Dialer(
            guard=Guard(FakeResolver(), AddressRules(allow=[LOOPBACK])),
            ssl_context=client_context(),
            connect_timeout=5,
        ),
        pool=pool,
    )
    async with receiver(answering(OK)) as port:
        assert (await post(exchange, port)).status == 200
        with pytest.raises(RuntimeError, match=r"run Exchange\.serve"):
            await post(exchange, port)
    pool.close()


async def test_an_answer_that_comes_unasked_is_not_taken_for_the_next_one() -> None:
    late = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await late.wait()
        await stream.send_all(b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n")
        if await read_request(stream):
            await stream.send_all(OK)

    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        late.set()
        await trio.testing.wait_all_tasks_blocked()
        answer = await post(exchange, port)
    assert (answer.status, answer.phases.reused) == (200, False)


async def test_a_body_without_framing_ends_with_the_connection() -> None:
    async with receiver(closing_after(b"HTTP/1.1 200 OK\r\n\r\nto the end")) as port:
        answer = await post(make_exchange(), port)
    assert (answer.status, answer.excerpt) == (200, b"to the end")


async def test_the_excerpt_is_bounded() -> None:
    body = bytes(range(256)) * 100
    answer_bytes = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    exchange = make_exchange(excerpt=1000)
    async with receiver(answering(answer_bytes)) as port:
        answer = await post(exchange, port)
        again = await post(exchange, port)
    assert (answer.excerpt, answer.truncated) == (body[:1000], True)
    assert again.phases.reused  # it was read to its end, if not kept


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_kept_connection_that_turns_out_dead_is_replaced_once(how: str) -> None:
    connections = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        while await read_request(stream):
            if connections == 1 and answered:
                if how == "reset":
                    reset(stream)
                return  # the request was read, and the connection ends without an answer
            answered.append(True)
            await stream.send_all(OK)

    answered: list[bool] = []
    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        answer = await post(exchange, port)
    assert (answer.status, answer.phases.reused, connections) == (200, False, 2)
    assert answer.phases.connect is not None


async def test_a_fresh_connection_that_dies_is_not_replaced() -> None:
    connections = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)

    async with receiver(handler) as port:
        with pytest.raises(EgressError) as caught:
            await post(make_exchange(), port)
    assert (caught.value.code, connections) == ("connection_lost", 1)


async def test_the_replacement_of_a_dead_connection_is_not_replaced_again() -> None:
    requests = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await read_request(stream):
            requests += 1
            if requests > 1:
                return
            await stream.send_all(OK)

    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        with pytest.raises(EgressError) as caught:
            await post(exchange, port)
    assert (caught.value.code, requests) == ("connection_lost", 3)


async def test_a_kept_connection_that_dies_after_a_byte_is_not_tried_again() -> None:
    requests = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await read_request(stream):
            requests += 1
            await stream.send_all(OK if requests == 1 else b"H")
            if requests > 1:
                return

    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        with pytest.raises(EgressError) as caught:
            await post(exchange, port)
    assert (caught.value.code, requests) == ("connection_lost", 2)


async def test_a_kept_connection_that_hangs_is_not_tried_again() -> None:
    requests = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal requests
        while await read_request(stream):
            requests += 1
            if requests == 1:
                await stream.send_all(OK)

    exchange = make_exchange()
    async with receiver(handler) as port:
        await post(exchange, port)
        with pytest.raises(EgressError) as caught:
            await post(exchange, port, timeout=0.1)
    assert (caught.value.code, requests) == ("timeout", 2)


async def test_connections_go_to_their_own_origin() -> None:
    exchange = make_exchange()
    async with receiver(answering(OK)) as port:
        await exchange.post(parse_url(f"http://a.test:{port}/", https_only=False), [], b"", timeout=5)
        other = await exchange.post(parse_url(f"http://b.test:{port}/", https_only=False), [], b"", timeout=5)
    assert not other.phases.reused


async def test_a_closed_pool_still_serves_but_keeps_nothing() -> None:
    pool = Pool()
    exchange = make_exchange(pool=pool)
    async with receiver(answering(OK)) as port:
        pool.close()
        assert (await post(exchange, port)).status == 200
        assert len(pool) == 0


async def test_a_large_body_arrives_whole() -> None:
    received = []

    async def handler(stream: trio.SocketStream) -> None:
        received.append(len((await read_request(stream)).partition(b"\r\n\r\n")[2]))
        await stream.send_all(OK)

    async with receiver(handler) as port:
        assert (await post(make_exchange(), port, b"x" * 8_000_000)).status == 200
    assert received == [8_000_000]


async def test_many_at_once_share_the_pool() -> None:
    pool = Pool(max_idle=8)
    exchange = make_exchange(pool=pool)
    statuses = []

    async def worker(port: int) -> None:
        for _ in range(10):
            statuses.append((await post(exchange, port)).status)

    async with receiver(answering(OK)) as port:
        async with trio.open_nursery() as nursery:
            for _ in range(32):
                nursery.start_soon(worker, port)
        assert statuses == [200] * 320
        assert len(pool) <= 8
        pool.close()


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.05])
async def test_an_answer_that_nobody_asked_for_never_goes_to_another_organisation(delay: float) -> None:
    gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"

    async def handler(stream: trio.SocketStream) -> None:
        while request := await read_request(stream):
            await stream.send_all(OK)
            if b"/evil" in request:
                await trio.sleep(delay)
                await stream.send_all(gone)

    exchange = make_exchange()
    evil, good = uuid4(), uuid4()
    async with receiver(handler) as port:
        for _ in range(3):
            bad = parse_url(f"http://receiver.test:{port}/evil", https_only=False)
            await exchange.post(bad, [], b"", timeout=5, owner=evil)
            answer = await post(exchange, port, owner=good)
            assert (answer.status, answer.excerpt) == (200, b"ok")
            await trio.sleep(2 * delay)


async def test_connections_are_used_again_by_their_own_organisation_alone() -> None:
    exchange = make_exchange()
    first, second = uuid4(), uuid4()
    async with receiver(answering(OK)) as port:
        reused = [
            (await post(exchange, port, owner=owner)).phases.reused
            for owner in (first, second, None, first, second, None)
        ]
    assert reused == [False, False, False, True, True, True]


async def test_a_name_that_moves_to_a_forbidden_address_is_refused_at_the_next_connection() -> None:
    resolver = FakeResolver(["127.0.0.1"], ["10.0.0.1"])
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    exchange = make_exchange(resolver)
    async with receiver(answering(closing)) as port:
        assert (await post(exchange, port)).status == 200
        with pytest.raises(EgressError) as caught:
            await post(exchange, port)
    assert (caught.value.code, caught.value.rule) == ("address_forbidden", "private")


async def test_the_name_is_resolved_once_so_that_it_cannot_change_after_the_check() -> None:
    resolver = FakeResolver(["127.0.0.1"], ["127.0.0.9"])
    async with receiver(answering(OK)) as port:
        assert (await post(make_exchange(resolver), port)).status == 200
    assert resolver.asked == 1


@pytest.mark.parametrize("addresses", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
async def test_mixed_answers_are_refused_before_anything_is_sent(addresses: list[str]) -> None:
    connections = []

    async def handler(stream: trio.SocketStream) -> None:
        connections.append(stream)

    async with receiver(handler) as port:
        with pytest.raises(EgressError) as caught:
            await post(make_exchange(FakeResolver(addresses)), port)
        await trio.testing.wait_all_tasks_blocked()
    assert (caught.value.code, connections) == ("address_forbidden", [])
    assert caught.value.phases.reached == "dns"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "0.0.0.0"]
)
async def test_literals_of_this_machine_are_refused(host: str) -> None:
    class Literal:
        async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
            return [ip_address(host)]

    exchange = make_exchange(Literal(), allow=())
    with pytest.raises(EgressError) as caught:
        await exchange.post(parse_url(f"https://{host}/"), [], b"", timeout=1)
    assert caught.value.code == "address_forbidden"
