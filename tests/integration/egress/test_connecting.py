"""Connecting to hosts of several addresses, of which some are dead, with real sockets."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
import trio
import trustme

from daemon.egress.errors import EgressError, Fault
from daemon.egress.pool import Pool
from daemon.egress.tls import client_context
from tests.support.egress_harness import (
    OK,
    FakeResolver,
    answering,
    black_hole,
    closed_pools,  # noqa: F401 (used by every test)
    make_exchange,
    open_sockets,
    post,
    receiver,
)


def none_kept() -> Pool:
    return Pool(max_idle=0)


@contextmanager
def black_holes(addresses: Sequence[str], port: int) -> Iterator[None]:
    with ExitStack() as stack:
        for address in addresses:
            stack.enter_context(black_hole(address, port))
        yield


async def test_what_refuses_costs_nothing() -> None:
    # Nobody listens on any but the last.
    resolver = FakeResolver([*(f"127.0.0.{number}" for number in range(2, 10)), "127.0.0.1"])
    async with receiver(answering(OK)) as port:
        assert (await post(make_exchange(resolver), port)).status == 200


async def test_dead_addresses_before_a_good_one_delay_the_first_request_alone() -> None:
    dead, good = [f"127.0.0.{number}" for number in range(2, 6)], "127.0.0.6"
    exchange = make_exchange(FakeResolver([*dead, good]), pool=none_kept())
    async with receiver(answering(OK), good) as port:
        with black_holes(dead, port):
            first = (await post(exchange, port)).phases
            second = (await post(exchange, port)).phases
    assert first.connect is not None
    assert second.connect is not None
    # Four waits of 0.25 s; the second request has none, however little this machine has time for us.
    assert first.connect >= 1.0
    assert second.connect < first.connect


async def test_what_worked_and_works_no_more_gives_way() -> None:
    exchange = make_exchange(FakeResolver(["127.0.0.2", "127.0.0.3"]), pool=none_kept())
    async with receiver(answering(OK), "127.0.0.3") as port:
        assert (await post(exchange, port)).status == 200
    with black_holes(["127.0.0.3"], port):
        async with receiver(answering(OK), "127.0.0.2", port):
            took = [(await post(exchange, port)).phases.connect or 0.0 for _ in range(2)]
    assert took[0] >= 0.25
    assert took[1] < took[0]


async def test_little_time_is_shared_among_the_addresses() -> None:
    async with receiver(answering(OK), "127.0.0.2") as port:
        with black_holes(["127.0.0.1"], port):
            exchange = make_exchange(FakeResolver(["127.0.0.1", "127.0.0.2"]))
            answer = await post(exchange, port, timeout=0.2)
    assert answer.status == 200


async def test_where_all_are_dead_the_deadline_holds() -> None:
    with black_hole() as port:
        before = open_sockets()
        with trio.fail_after(20), pytest.raises(EgressError) as caught:
            await post(make_exchange(FakeResolver(["127.0.0.1"] * 8)), port, timeout=0.2)
        assert (caught.value.code, caught.value.fault) == ("connect_timeout", Fault.DEADLINE)
        assert open_sockets() == before


async def test_an_address_whose_tls_is_of_no_use_goes_last() -> None:
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("receiver.test").configure_cert(server)
    trusting = client_context()
    ca.configure_trust(trusting)

    async def over_tls(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server, https_compatible=True, server_side=True)
        await tls.receive_some(65536)
        await tls.send_all(OK)

    async def closing(stream: trio.SocketStream) -> None:
        await stream.receive_some(10)

    exchange = make_exchange(FakeResolver(["127.0.0.2", "127.0.0.3"]), pool=none_kept(), ssl_context=trusting)
    async with receiver(over_tls, "127.0.0.3") as port, receiver(closing, "127.0.0.2", port):
        with pytest.raises(EgressError) as caught:
            await post(exchange, port, scheme="https")
        assert caught.value.code == "tls_failed"
        for _ in range(2):
            assert (await post(exchange, port, scheme="https")).status == 200
