"""Reading the issuer's key set over the network, and a daemon that checks tokens by it."""

# Covers daemon.process.token_keys.

import gzip
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import trio
import trustme

from api.jwks import NoKeySet
from daemon.config.model import Config
from daemon.config.sections.auth import AuthConfig
from daemon.config.sections.egress import EgressConfig
from daemon.process import issuer
from daemon.process.issuer import MAX_KEY_SET, key_set_fetch
from daemon.process.token_secret import read_token_key
from tests.support.daemon import Daemon, refused, running
from tests.support.egress_harness import open_sockets, unused_port
from tests.support.issuer import EC, ED, RSA, http_answer, jwk, key_server, key_set, token

LOOPBACK = ("127.0.0.0/8", "::1/128")
ORG = uuid4()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


def settings(
    url: str, ca_file: str = "", allow: tuple[str, ...] = LOOPBACK, egress: EgressConfig | None = None
) -> Config:
    return Config(
        auth=AuthConfig(algorithms=("ES256",), jwks_url=url, jwks_allow_networks=allow),
        egress=egress or EgressConfig(ca_file=ca_file),
    )


async def failure(config: Config) -> str:
    """Return what a fetch that must fail says."""
    with pytest.raises(NoKeySet) as caught:
        await key_set_fetch(config)()
    return str(caught.value)


async def test_a_key_set_is_read_over_tls_and_the_connection_is_not_kept(
    ca: trustme.CA, ca_file: str
) -> None:
    async with key_server(ca, jwk(EC, "a")) as server:
        before = open_sockets()
        assert await key_set_fetch(settings(server.url, ca_file))() == key_set(jwk(EC, "a"))
        with trio.fail_after(30):
            while open_sockets() > before:  # noqa: ASYNC110 (the server's side closes in its own time)
                await trio.sleep(0.01)
    request = server.fetches[0].lower()
    assert request.startswith(b"get /keys http/1.1\r\n")
    assert b"accept-encoding: identity\r\n" in request
    assert b"user-agent: hookd/" in request


async def test_what_is_said_of_subscriptions_urls_is_not_said_of_this_one(
    ca: trustme.CA, ca_file: str
) -> None:
    narrow = EgressConfig(ca_file=ca_file, ports=(443,), deny_networks=("127.0.0.0/8",))
    async with key_server(ca, jwk(EC, "a")) as server:
        assert await key_set_fetch(settings(server.url, egress=narrow))()
    async with key_server(None, jwk(EC, "a")) as server:
        plain = server.url.replace("https", "http")
        assert await key_set_fetch(settings(plain, egress=EgressConfig(https_only=True)))()


async def test_an_unknown_authority_is_not_trusted(ca: trustme.CA) -> None:
    async with key_server(ca, jwk(EC, "a")) as server:
        assert "name it in egress.ca_file" in await failure(settings(server.url))
        assert server.fetches == []


async def test_a_private_address_needs_an_allowance_of_its_own() -> None:
    generous = EgressConfig(allow_networks=LOOPBACK)
    with pytest.raises(ValueError, match=r"\(loopback\); add its network to auth\.jwks_allow_networks"):
        key_set_fetch(settings("https://127.0.0.1/keys", allow=(), egress=generous))
    said = await failure(settings("https://localhost/keys", allow=(), egress=generous))
    assert "(loopback); add its network to auth.jwks_allow_networks" in said


@pytest.mark.parametrize("url", ["https://127.1/keys", "https://a..b/keys", "https://x.test/a b"])
def test_a_url_that_cannot_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"auth\.jwks_url cannot be used: "):
        key_set_fetch(settings(url))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http_answer(b"gone", "404 Not Found"), "answered 404; see that the key set is at"),
        (http_answer(b"", "503 Busy", "Retry-After: 5"), "answered 503"),
        (http_answer(b"", "302 Found", "Location: https://127.0.0.1/"), "redirects (302)"),
        (http_answer(gzip.compress(b" " * 10**8), "200 OK", "Content-Encoding: gzip"), "compressed"),
        (http_answer(b" " * (MAX_KEY_SET + 1)), f"longer than {MAX_KEY_SET} bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol_error"),
        (b"nonsense\r\n\r\n", "protocol_error"),
    ],
)
async def test_other_answers_are_no_key_sets(ca: trustme.CA, ca_file: str, answer: bytes, words: str) -> None:
    async with key_server(ca) as server:
        server.answer = answer
        assert words in await failure(settings(server.url, ca_file))
        assert len(server.fetches) == 1


async def test_a_server_that_is_away_or_never_answers_is_given_up(
    ca: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "connect_refused" in await failure(settings(f"https://127.0.0.1:{unused_port()}/", ca_file))
    monkeypatch.setattr(issuer, "FETCH_TIMEOUT", 0.3)
    async with key_server(ca) as server:
        server.down = True
        assert "tls_failed" in await failure(settings(server.url, ca_file))
        server.down, server.answer = False, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
        assert "timeout" in await failure(settings(server.url, ca_file))


def test_no_secret_is_made_where_a_key_set_checks_tokens(tmp_path: Path) -> None:
    assert read_token_key(settings("https://issuer.test/keys"), tmp_path) == b""
    assert list(tmp_path.iterdir()) == []


# The daemon.


def daemon_settings(url: str, ca_file: str = "", **more: object) -> dict[str, object]:
    return {
        "auth__secret_file": "",
        "auth__algorithms": ["RS256", "ES256", "EdDSA"],
        "auth__jwks_url": url,
        "auth__jwks_allow_networks": list(LOOPBACK),
        "egress__ca_file": ca_file,
        **more,
    }


async def status(daemon: Daemon, bearer: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {bearer}"}
        return (await client.get(f"{daemon.address}/webhooks/events", headers=headers)).status_code


def claims(*roles: str) -> dict[str, object]:
    return {"org_id": str(ORG), "roles": list(roles)}


async def test_a_daemon_checks_tokens_by_a_key_set_also_while_its_server_is_away(
    tmp_path: Path, postgres_url: str, ca: trustme.CA, ca_file: str
) -> None:
    async with key_server(ca, jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")) as server:
        good = [token(RSA, "r", claims()), token(EC, "e", claims()), token(ED, None, claims())]
        forged = token(EC, "unknown", claims())
        private = {"egress__allow_networks": [], "egress__https_only": True}
        async with running(
            tmp_path, postgres_url, **daemon_settings(server.url, ca_file, **private)
        ) as daemon:
            assert [await status(daemon, one) for one in good] == [200] * 3
            assert await status(daemon, forged) == 401
            server.down = True
            assert [await status(daemon, one) for one in good] == [200] * 3
            assert await status(daemon, forged) == 401
            # What the key set's allowance let through is no place for deliveries.
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(
                    f"{daemon.address}/webhooks",
                    headers={"Authorization": f"Bearer {token(EC, 'e', claims('org_admin'))}"},
                    json={"url": server.url, "events": ["match.proposed"]},
                )
            assert (answer.status_code, "address" in answer.text) == (422, True)
            assert await daemon.stop() == 0
    assert len(server.fetches) == 1


async def test_a_daemon_that_has_never_had_keys_is_not_ready_and_says_when_to_come_again(
    tmp_path: Path, postgres_url: str
) -> None:
    url = f"http://127.0.0.1:{unused_port()}/keys"
    async with running(tmp_path, postgres_url, **daemon_settings(url)) as daemon:
        async with httpx.AsyncClient(base_url=daemon.address, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token(EC, 'e', claims())}"}
            answer = await client.get("/webhooks/events", headers=headers)
            ready = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, 503)
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert ready.status_code == 503
        assert {check["name"]: check["ok"] for check in ready.json()["checks"]}["keys"] is False
        assert await daemon.stop() == 0
    assert "no keys for tokens from auth.jwks_url: connect_refused" in daemon.log.read_text()
    assert "until there are some, calls get a 503" in daemon.log.read_text()


async def test_a_daemon_with_a_key_set_at_a_forbidden_address_does_not_start(
    tmp_path: Path, postgres_url: str
) -> None:
    given = daemon_settings("https://127.0.0.1/keys", auth__jwks_allow_networks=[])
    exit_status, said = await refused(tmp_path / "d", postgres_url, **given)
    assert exit_status == 2
    assert "add its network to auth.jwks_allow_networks" in said
    assert "Traceback" not in said
