"""TLS: who is trusted, what is asked for, and what becomes of handshakes that fail."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import trio
import trio.testing
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daemon.egress.errors import EgressError, Fault
from daemon.egress.imperfections import RESET, SHORT
from daemon.egress.pool import Pool
from daemon.egress.tls import client_context
from daemon.egress.url import parse_url
from tests.support.egress_harness import (
    OK,
    Handler,
    closed_pools,  # noqa: F401 (used by every test)
    make_exchange,
    open_sockets,
    post,
    read_request,
    receiver,
    reset,
)

pytestmark = pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

TlsHandler = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = client_context()
    ca.configure_trust(context)
    return context


def without_alternative_names(ca: trustme.CA, name: str, directory: Path) -> ssl.SSLContext:
    """Return a server's context whose certificate, by `ca`, has the name as its Common Name only."""
    authority = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    authority_key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    file = directory / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def tls_receiver(context: ssl.SSLContext, handler: TlsHandler) -> AsyncIterator[int]:
    async def encrypted(stream: trio.SocketStream) -> None:
        await handler(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    async with receiver(encrypted) as port:
        yield port


def answering(answer: bytes = OK) -> TlsHandler:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while await read_request(stream):
            await stream.send_all(answer)

    return handler


async def tls_failure(
    handler: Handler,
    code: str,
    *,
    ca: trustme.CA | None = None,
    timeout: float = 5.0,
    connect_timeout: float = 5.0,
) -> EgressError:
    before = open_sockets()
    context = client_context() if ca is None else trusting(ca)
    async with receiver(handler) as port:
        with pytest.raises(EgressError) as caught:
            await post(
                make_exchange(ssl_context=context, connect_timeout=connect_timeout),
                port,
                scheme="https",
                timeout=timeout,
            )
    assert caught.value.code == code
    assert caught.value.phases.connect is not None
    assert open_sockets() == before
    return caught.value


async def test_the_name_is_sent_and_checked_while_the_address_is_connected_to(ca: trustme.CA) -> None:
    names = []
    context = server_context(ca.issue_cert("receiver.test"))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    exchange = make_exchange(ssl_context=trusting(ca))
    async with tls_receiver(context, answering()) as port:
        first = await post(exchange, port, scheme="https")
        second = await post(exchange, port, scheme="https")
    assert (first.status, first.excerpt, names) == (200, b"ok", ["receiver.test"])
    assert first.phases.tls is not None
    assert (second.phases.reused, second.phases.tls) == (True, None)


async def test_a_large_body_goes_through_tls(ca: trustme.CA) -> None:
    lengths = []

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while request := await read_request(stream):
            lengths.append(len(request))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"y" * 50_000)

    exchange = make_exchange(ssl_context=trusting(ca), excerpt=60_000)
    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        # The second time on a kept connection, of whose many records it is told but once.
        answers = [await post(exchange, port, b"x" * 3_000_000, scheme="https") for _ in range(2)]
    assert min(lengths) > 3_000_000
    assert [(answer.excerpt, answer.phases.reused) for answer in answers] == [
        (b"y" * 50_000, False),
        (b"y" * 50_000, True),
    ]


async def test_an_address_may_stand_in_the_certificate(ca: trustme.CA) -> None:
    exchange = make_exchange(ssl_context=trusting(ca))
    async with tls_receiver(server_context(ca.issue_cert("127.0.0.1")), answering()) as port:
        answer = await exchange.post(parse_url(f"https://127.0.0.1:{port}/"), [], b"", timeout=5)
    assert answer.status == 200


@pytest.mark.parametrize("fault", ["wrong name", "expired", "unknown authority"])
async def test_bad_certificates_are_refused(ca: trustme.CA, fault: str) -> None:
    certificate = {
        "wrong name": lambda: ca.issue_cert("other.test"),
        "expired": lambda: ca.issue_cert("receiver.test", not_after=datetime.now(UTC) - timedelta(days=1)),
        "unknown authority": lambda: trustme.CA().issue_cert("receiver.test"),
    }[fault]()
    requests = []

    async def handler(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_context(certificate), server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            requests.append(await tls.receive_some(100))

    error = await tls_failure(handler, "tls_failed", ca=ca)
    words = {"wrong name": "mismatch", "expired": "expired", "unknown authority": "unable to get"}
    assert words[fault] in error.detail
    assert not any(requests)


async def test_a_plain_server_is_a_tls_failure() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert "wrong version number" in (await tls_failure(handler, "tls_failed")).detail


@pytest.mark.parametrize("how", ["close", "reset", "close after hello", "reset after hello"])
async def test_a_connection_lost_in_the_handshake_is_a_tls_failure(how: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        if "hello" in how:
            await stream.receive_some(65536)
        if "reset" in how:
            reset(stream)

    await tls_failure(handler, "tls_failed")


async def test_old_tls_is_refused(ca: trustme.CA) -> None:
    assert client_context().minimum_version == ssl.TLSVersion.TLSv1_2
    context = server_context(ca.issue_cert("receiver.test"))
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def handler(stream: trio.SocketStream) -> None:
        await trio.SSLStream(stream, context, server_side=True).do_handshake()

    await tls_failure(handler, "tls_failed", ca=ca)


async def test_a_demand_for_a_client_certificate_is_a_tls_failure(ca: trustme.CA) -> None:
    """With TLS 1.3 the refusal comes only after our side of the handshake is done."""
    context = server_context(ca.issue_cert("receiver.test"))
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)

    async def handler(stream: trio.SocketStream) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while not refused:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                refused = True
            await stream.send_all(outgoing.read())
            incoming.write(await stream.receive_some(65536))

    error = await tls_failure(handler, "tls_failed", ca=ca)
    assert "certificate required" in error.detail
    assert error.fault is Fault.REQUEST, "some hosts want one for some paths only"


async def test_a_common_name_is_no_name(ca: trustme.CA, tmp_path: Path) -> None:
    certificate = without_alternative_names(ca, "receiver.test", tmp_path)
    async with tls_receiver(certificate, answering()) as port:
        with pytest.raises(EgressError) as caught:
            await post(make_exchange(ssl_context=trusting(ca)), port, scheme="https")
    assert caught.value.code == "tls_failed"
    assert "mismatch" in caught.value.detail


@pytest.mark.parametrize("bounds", [(0.15, 5.0), (5.0, 0.15)], ids=["deadline", "connect_timeout"])
@pytest.mark.parametrize("dribbles", [False, True])
async def test_a_slow_handshake_is_a_tls_timeout(bounds: tuple[float, float], dribbles: bool) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        if dribbles:
            for byte in b"\x16\x03\x03\x40\x00\x02" + bytes(0x4000):  # a long record of the handshake
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.01)
        await trio.sleep_forever()

    error = await tls_failure(handler, "tls_timeout", timeout=bounds[0], connect_timeout=bounds[1])
    assert error.fault is (Fault.DEADLINE if bounds[0] < bounds[1] else Fault.HOST)


async def test_an_end_without_notice_ends_a_body_without_framing(ca: trustme.CA) -> None:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        await stream.transport_stream.aclose()

    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        answer = await post(make_exchange(ssl_context=trusting(ca)), port, scheme="https")
    assert answer.excerpt == b"to the end"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_end_within_the_body_leaves_the_status(ca: trustme.CA, how: str) -> None:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        if how == "reset":
            reset(stream.transport_stream)
        await stream.transport_stream.aclose()

    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        answer = await post(make_exchange(ssl_context=trusting(ca)), port, scheme="https")
    assert (answer.status, answer.excerpt) == (200, b"half")
    # Behind TLS a reset may look like an end.
    assert answer.note == SHORT or (how == "reset" and answer.note == RESET)


async def test_a_refusal_ends_the_sending_of_the_request_behind_tls_as_well(ca: trustme.CA) -> None:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await trio.sleep_forever()

    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        with trio.fail_after(30):
            exchange = make_exchange(ssl_context=trusting(ca))
            answer = await post(exchange, port, b"x" * 8_000_000, scheme="https", timeout=60)
    assert (answer.status, answer.excerpt) == (413, b"no")


async def test_a_large_request_arrives_whole_behind_tls(ca: trustme.CA) -> None:
    sizes = []

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while request := await read_request(stream):
            sizes.append(len(request.partition(b"\r\n\r\n")[2]))
            await stream.send_all(OK)

    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        exchange = make_exchange(ssl_context=trusting(ca))
        body = b"x" * 4_000_000
        reused = [(await post(exchange, port, body, scheme="https")).phases.reused for _ in range(2)]
    assert (sizes, reused) == ([4_000_000] * 2, [False, True])


@pytest.mark.parametrize("records", [(OK + OK,), (OK, OK)])
async def test_surplus_behind_tls_forbids_reuse(ca: trustme.CA, records: tuple[bytes, ...]) -> None:
    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while await read_request(stream):
            stream.transport_stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            for record in records:
                await stream.send_all(record)
            stream.transport_stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    exchange = make_exchange(ssl_context=trusting(ca))
    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), handler) as port:
        reused = [(await post(exchange, port, scheme="https")).phases.reused for _ in range(2)]
    assert reused == [False, False]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed_with_the_same_host_by_the_same_organisation(
    ca: trustme.CA, version: ssl.TLSVersion
) -> None:
    context = server_context(ca.issue_cert("receiver.test", "other.test"))
    context.minimum_version = context.maximum_version = version
    resumed, owner = [], uuid4()

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await read_request(stream)
        resumed.append(stream.session_reused)
        await stream.send_all(CLOSE)

    exchange = make_exchange(ssl_context=trusting(ca))
    async with tls_receiver(context, handler) as port:
        for _ in range(3):
            await post(exchange, port, scheme="https")
        await exchange.post(parse_url(f"https://other.test:{port}/"), [], b"", timeout=5)
        for _ in range(2):
            await post(exchange, port, scheme="https", owner=owner)
    assert resumed == [False, True, True, False, False, True]


async def test_the_pool_closes_tls_connections(ca: trustme.CA) -> None:
    before = open_sockets()
    pool = Pool()
    exchange = make_exchange(pool=pool, ssl_context=trusting(ca))
    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), answering()) as port:
        await post(exchange, port, scheme="https")
        assert len(pool) == 1
        pool.close()
    assert open_sockets() == before


def test_the_keys_are_not_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context().keylog_filename is None
    assert not (tmp_path / "keys").exists()


async def test_a_ca_file_replaces_the_systems_authorities(ca: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    context = client_context(str(ca_file))
    assert context.cert_store_stats()["x509_ca"] == 1
    async with tls_receiver(server_context(ca.issue_cert("receiver.test")), answering()) as port:
        assert (await post(make_exchange(ssl_context=context), port, scheme="https")).status == 200


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_bad_ca_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ValueError, match=r"egress\.ca_file .*ca\.pem.* name a PEM file"):
        client_context(str(ca_file))
