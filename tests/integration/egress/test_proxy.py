"""Requests through an HTTP proxy: tunnels, what is checked, whose fault a failure is."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from uuid import UUID

import pytest
import trio
import trustme

from daemon.egress.addresses import Address, AddressRules
from daemon.egress.dialer import Dialer
from daemon.egress.errors import EgressError, Fault
from daemon.egress.exchange import Exchange
from daemon.egress.guard import Guard
from daemon.egress.pool import Pool
from daemon.egress.proxy import Proxy
from daemon.egress.proxy_health import IN_A_ROW, ProxyHealth
from daemon.egress.source import ANY_SOURCE, Sources, parse_sources
from daemon.egress.tls import client_context
from daemon.egress.tunnels import Tunnels
from daemon.egress.url import Origin, parse_url
from tests.support.connect_proxy import ConnectProxy, connect_proxy
from tests.support.egress_harness import (
    LOOPBACK,
    OK,
    answering,
    black_hole,
    closed_pools,  # noqa: F401 (used by every test)
    kept_pool,
    open_sockets,
    post,
    read_request,
    receiver,
    served,
    unused_port,
)


class Names:
    """A resolver with a table, and the receivers' name beside it."""

    def __init__(self, receiver: Sequence[str], others: Mapping[str, Sequence[str]]) -> None:
        self._table = {"receiver.test": receiver, **others}

    async def resolve(self, host: str, owner: UUID | None) -> list[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        if host not in self._table:
            raise EgressError("dns_failed", "Nobody knows.")
        return [ip_address(text) for text in self._table[host]]


def through(
    proxy: ConnectProxy | int,
    *,
    receiver: Sequence[str] = ("127.0.0.1",),
    host: str = "127.0.0.1",
    allow: Sequence[str] = (LOOPBACK,),
    credentials: bytes = b"",
    resolves: bool = False,
    serves: Callable[[Origin], bool] = lambda origin: True,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 5.0,
    health: ProxyHealth | None = None,
    sources: Sources = ANY_SOURCE,
) -> Exchange:
    names = Names(receiver, {"proxy.test": ["127.0.0.1"]})
    guard = Guard(names, AddressRules(allow=allow))
    port = proxy if isinstance(proxy, int) else proxy.port
    tunnels = Tunnels(
        Proxy(host, port, credentials, resolves, serves),
        guard=guard,
        resolver=names,
        sources=sources,
        health=health or ProxyHealth("http://proxy.test:3128"),
        timeout=timeout,
    )
    dialer = Dialer(
        guard=guard,
        ssl_context=ssl_context or client_context(),
        connect_timeout=timeout,
        sources=sources,
        tunnels=tunnels,
    )
    return served(Exchange(dialer=dialer, pool=kept_pool(Pool())))


async def failure(exchange: Exchange, port: int = 9, timeout: float = 20.0) -> EgressError:
    with pytest.raises(EgressError) as caught:
        await post(exchange, port, timeout=timeout)
    return caught.value


async def test_the_proxy_is_asked_for_the_address_that_was_checked() -> None:
    async with receiver(answering(OK)) as port, connect_proxy() as proxy:
        exchange = through(proxy, credentials=b"hookd:pass word")
        answers = [await post(exchange, port) for _ in range(2)]
    assert [one.status for one in answers] == [200, 200]
    assert [one.phases.reused for one in answers] == [False, True]
    assert proxy.targets == [f"127.0.0.1:{port}"]
    head = proxy.heads[0].decode().split("\r\n")
    assert head == [
        f"CONNECT 127.0.0.1:{port} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Proxy-Authorization: Basic aG9va2Q6cGFzcyB3b3Jk",
    ]


async def test_tls_goes_end_to_end_and_is_checked_against_the_hosts_own_name() -> None:
    ca = trustme.CA()
    names: list[str | None] = []
    requests: list[bytes] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("receiver.test").configure_cert(server)
    server.sni_callback = lambda _, name, __: names.append(name)
    trusting = client_context()
    ca.configure_trust(trusting)

    async def handler(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server, server_side=True, https_compatible=True)
        requests.append(await read_request(tls))
        await tls.send_all(OK)

    async with receiver(handler) as port, connect_proxy() as proxy:
        exchange = through(proxy, ssl_context=trusting)
        assert (await post(exchange, port, scheme="https")).status == 200
        with pytest.raises(EgressError) as caught:
            await post(through(proxy), port, scheme="https")
    assert names[0] == "receiver.test"
    assert b"Host: receiver.test" in requests[0]
    assert b"Proxy-" not in requests[0]
    assert (caught.value.code, caught.value.fault) == ("tls_failed", Fault.HOST)


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "169.254.169.254"], []])
async def test_the_guard_decides_before_the_proxy_is_asked(addresses: Sequence[str]) -> None:
    async with connect_proxy() as proxy:
        error = await failure(through(proxy, receiver=addresses))
    assert error.code == "address_forbidden"
    assert proxy.targets == []


async def test_the_next_address_is_asked_for_where_one_is_not_reached() -> None:
    dead = b"HTTP/1.1 503 Service Unavailable\r\n\r\nclosing"
    async with (
        receiver(answering(OK), "127.0.0.3") as port,
        connect_proxy(lambda target: None if target.startswith("127.0.0.3") else dead) as proxy,
    ):
        exchange = through(proxy, receiver=["127.0.0.2", "127.0.0.3"])
        assert (await post(exchange, port)).status == 200
    assert proxy.targets == [f"127.0.0.2:{port}", f"127.0.0.3:{port}"]


async def test_where_the_proxy_resolves_it_gets_the_name_and_only_names_are_checked() -> None:
    async with receiver(answering(OK)) as port, connect_proxy() as proxy:
        exchange = through(proxy, receiver=["10.0.0.1"], host="proxy.test", resolves=True)
        assert (await post(exchange, port)).status == 200
        assert proxy.targets == [f"receiver.test:{port}"]
        for host in ("10.0.0.1", "[fe80::1]", "printer.local", "db.internal", "nas.home.arpa"):
            with pytest.raises(EgressError) as caught:
                await exchange.post(parse_url(f"https://{host}/"), [], b"", timeout=5)
            assert caught.value.code == "address_forbidden"
    assert len(proxy.targets) == 1


async def test_hosts_that_are_excepted_and_this_machine_are_sent_to_directly() -> None:
    async with receiver(answering(OK)) as port, connect_proxy() as proxy:
        exchange = through(proxy, serves=lambda origin: origin.host != "receiver.test")
        assert (await post(exchange, port)).status == 200
        here = parse_url(f"http://127.0.0.1:{port}/", https_only=False)
        assert (await through(proxy).post(here, [], b"", timeout=5)).status == 200
    assert proxy.targets == []


@pytest.mark.parametrize(
    "answer, code, fault",
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy_auth_required", Fault.PROXY),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "proxy_auth_required", Fault.PROXY),
        (b"HTTP/1.1 429 Too Many\r\n\r\n", "proxy_failed", Fault.PROXY),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "proxy_failed", Fault.PROXY),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "proxy_failed", Fault.PROXY),
        (b"closing", "proxy_failed", Fault.PROXY),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "proxy_failed", Fault.PROXY),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 17_000, "proxy_failed", Fault.PROXY),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_refused", Fault.HOST),
        (b"HTTP/1.0 500 Unable to connect\r\n\r\n", "proxy_connect_failed", Fault.HOST),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad Gateway\n\n", "proxy_connect_failed", Fault.HOST),
    ],
)
async def test_each_failure_of_a_proxy_has_its_code_and_its_culprit(
    answer: bytes, code: str, fault: Fault
) -> None:
    async with connect_proxy(lambda target: answer) as proxy:
        error = await failure(through(proxy))
    assert (error.code, error.fault) == (code, fault)
    assert str(proxy.port) not in error.detail
    assert error.note


async def test_a_proxy_that_is_not_there_is_at_fault_itself() -> None:
    error = await failure(through(unused_port()))
    assert (error.code, error.fault) == ("proxy_unreachable", Fault.PROXY)
    error = await failure(through(9, host="nobody.test"))
    assert (error.code, error.fault) == ("proxy_unreachable", Fault.PROXY)
    with black_hole() as port:
        error = await failure(through(port, timeout=0.1))
    assert (error.code, error.fault) == ("proxy_unreachable", Fault.PROXY)


async def test_silence_is_the_hosts_while_the_proxy_answers_others_and_else_its_own() -> None:
    before = open_sockets()
    async with connect_proxy(lambda target: b"") as proxy:
        error = await failure(through(proxy, timeout=0.1))
        assert (error.code, error.fault) == ("proxy_timeout", Fault.HOST)
        error = await failure(through(proxy), timeout=0.4)
        assert (error.code, error.fault) == ("proxy_timeout", Fault.DEADLINE)
    async with connect_proxy(lambda target: b"", alive=False) as proxy:
        error = await failure(through(proxy, timeout=0.1), timeout=1.0)
        assert (error.code, error.fault) == ("proxy_failed", Fault.PROXY)
    assert open_sockets() <= before + 1


async def test_a_proxy_that_is_down_is_asked_no_more_than_once_a_second() -> None:
    health = ProxyHealth("http://proxy.test:3128")
    async with connect_proxy(lambda target: b"HTTP/1.1 407 No\r\n\r\n") as proxy:
        codes = {(await failure(through(proxy, health=health))).code for _ in range(20)}
        assert codes == {"proxy_auth_required"}
        assert IN_A_ROW <= len(proxy.targets) < 20
    assert "egress.proxy_credentials_file" in health.down


async def test_requests_come_from_the_chosen_address() -> None:
    peers = []

    async def handler(stream: trio.SocketStream) -> None:
        peers.append(stream.socket.getpeername()[0])
        await read_request(stream)
        await stream.send_all(OK)

    sources = parse_sources(["127.0.0.2"])
    async with receiver(handler) as port, connect_proxy() as proxy:
        await post(through(proxy, serves=lambda origin: False, sources=sources), port)
        await post(through(proxy, sources=sources), port)
        six = parse_sources(["::1"])
        error = await failure(through(proxy, serves=lambda origin: False, sources=six), port)
    assert peers == ["127.0.0.2", "127.0.0.1"]  # the second one comes from the proxy
    assert (error.code, "IPv6" in error.detail) == ("connect_failed", True)


async def test_an_address_that_is_not_ours_any_more_is_the_daemons_fault() -> None:
    exchange = through(9, serves=lambda origin: False, sources=parse_sources(["192.0.2.1"]))
    error = await failure(exchange)
    assert (error.code, error.fault) == ("connect_failed", Fault.DAEMON)
    assert "192.0.2.1" not in error.detail
    assert "192.0.2.1" in str(error.note)
