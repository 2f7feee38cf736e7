"""Host patterns, overrides and addresses to listen on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.bind import TcpBind, UnixBind, parse_bind
from daemon.config.host_patterns import check_pattern, matches
from daemon.config.hosts import HostSettings, host_settings
from daemon.config.sections.hosts import HostOverride, HostsConfig

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("api.example.com", "api.example.com:443", True),
        ("api.example.com", "example.com:443", False),
        ("API.Example.COM", "api.example.com:443", True),
        ("*.example.com", "api.example.com:443", True),
        ("*.example.com", "a.b.example.com:443", True),
        ("*.example.com", "example.com:443", False),
        ("*.example.com", "badexample.com:443", False),
        ("*.example.com:8443", "api.example.com:443", False),
        ("*.example.com:8443", "api.example.com:8443", True),
        ("127.0.0.1", "127.0.0.1:9000", True),
        ("127.0.0.1:9001", "127.0.0.1:9000", False),
        ("[::1]", "[::1]:9000", True),
        ("[0:0::1]:9000", "[::1]:9000", True),
        ("[::1]:9001", "[::1]:9000", False),
    ],
)
def test_a_pattern_covers_hosts(pattern: str, host: str, expected: bool) -> None:
    assert matches(check_pattern(pattern), host) is expected


@given(NAME, PORT, LABEL)
def test_a_name_is_covered_by_itself_and_its_wildcard_only_from_below(
    name: str, port: int, label: str
) -> None:
    host = f"{name}:{port}"
    assert matches(check_pattern(name), host)
    assert matches(check_pattern(f"{name}:{port}"), host)
    assert not matches(check_pattern(f"*.{name}"), host)
    assert matches(check_pattern(f"*.{name}"), f"{label}.{host}")
    assert not matches(check_pattern(f"*.{name}"), f"{label}{host}")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "*.",
        "a.*.com",
        "**.a",
        "https://a.b",
        "a b",
        "a..b",
        "a:0",
        "a:99999",
        "a:",
        "a:b",
        "::1",
        "[x]",
        "-a",
        "a/",
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="write"):
        check_pattern(pattern)


def test_the_form_of_an_international_name_is_given() -> None:
    with pytest.raises(ValueError, match=r'write "\*\.xn--bcher-kva\.example"'):
        check_pattern("*.bücher.example")


@given(st.text(max_size=30))
def test_a_pattern_is_refused_or_stays_as_it_is(text: str) -> None:
    try:
        pattern = check_pattern(text)
    except ValueError:
        return
    assert check_pattern(pattern) == pattern


def test_the_first_matching_override_counts_and_its_gaps_fall_back() -> None:
    hosts = HostsConfig(
        rate=10,
        burst=20,
        in_flight=3,
        override=(
            HostOverride(match="a.example.com", in_flight=9),
            HostOverride(match="*.example.com", rate=1, burst=2),
        ),
    )
    for scheme in ("http", "https"):
        assert host_settings(hosts, f"{scheme}://a.example.com:443") == HostSettings(10, 20, 9)
        assert host_settings(hosts, f"{scheme}://b.example.com:443") == HostSettings(1, 2, 3)
        assert host_settings(hosts, f"{scheme}://example.org:443") == HostSettings(10, 20, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", TcpBind("127.0.0.1", 8080)),
        ("localhost:0", TcpBind("localhost", 0)),
        ("[::1]:80", TcpBind("::1", 80)),
        ("[::]:65535", TcpBind("::", 65535)),
        ("unix:/run/hookd/api.sock", UnixBind("/run/hookd/api.sock")),
    ],
)
def test_reads_an_address(text: str, expected: TcpBind | UnixBind) -> None:
    assert parse_bind(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "*:80",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "host:\uff18\uff10",
        "::1:80",
        "[x]:80",
        "a b:80",
        "http://host:80",
        "unix:",
        "unix:relative",
        "unix:/dir/",
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_address_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|use"):
        parse_bind(text)
