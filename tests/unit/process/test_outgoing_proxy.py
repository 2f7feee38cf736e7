"""Which hosts the configuration sends to through the proxy."""

# Covers daemon.config.proxy_url.

from collections.abc import Sequence
from pathlib import Path

import pytest

from daemon.config.load import load
from daemon.egress.proxy import Proxy
from daemon.egress.url import parse_url
from daemon.process.outgoing_proxy import outgoing_proxy


def made(*sets: str) -> Proxy | None:
    return outgoing_proxy(load(environ={}, sets=sets).config.egress)


def test_without_one_there_is_none() -> None:
    assert made() is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://Proxy.example.com:3128", "proxy.example.com", 3128),
        ("http://10.0.0.7:8080/", "10.0.0.7", 8080),
        ("http://[2001:db8::1]:3128", "2001:db8::1", 3128),
    ],
)
def test_where_it_is(text: str, host: str, port: int) -> None:
    proxy = made(f"egress.proxy={text}")
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.credentials, proxy.resolves) == (host, port, b"", False)


def test_its_credentials_show_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("hookd:hunter2\n")
    path.chmod(0o600)
    proxy = made("egress.proxy=http://proxy:3128", f"egress.proxy_credentials_file={path}")
    assert proxy is not None
    assert proxy.credentials == b"hookd:hunter2"
    assert "hunter2" not in repr(proxy)


@pytest.mark.parametrize(
    ("only", "but", "through", "directly"),
    [
        ([], [], ["https://a.test/", "http://[2001:db8::1]/"], ["https://127.0.0.1/", "http://[::1]/"]),
        ([], [], ["https://localhost.test/"], ["http://localhost/", "http://a.localhost/"]),
        ([], ["*.corp.test", "b.test:8443"], ["https://corp.test/", "https://b.test/"],
         ["https://a.corp.test/", "https://b.test:8443/"]),
        (["*.test"], ["a.test"], ["https://b.test/"], ["https://a.test/", "https://example.com/"]),
        (["[2001:db8::1]"], [], ["https://[2001:db8::1]:99/"], ["https://[2001:db8::2]/"]),
    ],
)  # fmt: skip
def test_patterns_say_who_is_sent_to_through_it(
    only: Sequence[str], but: Sequence[str], through: Sequence[str], directly: Sequence[str]
) -> None:
    def toml(patterns: Sequence[str]) -> str:
        return "[" + ", ".join(f'"{one}"' for one in patterns) + "]"

    proxy = made(
        "egress.proxy=http://p:3128", f"egress.proxy_hosts={toml(only)}", f"egress.proxy_except={toml(but)}"
    )
    assert proxy is not None
    for url in (*through, *directly):
        assert proxy.is_for(parse_url(url, https_only=False).origin) == (url in through)


def test_what_it_is_asked() -> None:
    plain, named = Proxy("p", 3128), Proxy("p", 3128, b"me:secret")
    assert plain.request("2001:db8::1", 443) == (
        b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
    )
    assert named.request("a.test", 80).endswith(b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n")
