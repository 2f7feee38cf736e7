import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.egress.url import MAX_URL, Origin, Url, UrlRefused, parse_url
from daemon.egress.url_policy import UrlPolicy

ACCEPTED = [
    ("https://example.com", "example.com", 443, b"/", "example.com:443", b"example.com"),
    ("HTTPS://EXAMPLE.com./a", "example.com", 443, b"/a", "example.com:443", b"example.com"),
    ("https://example.com:443/", "example.com", 443, b"/", "example.com:443", b"example.com"),
    ("https://example.com:8443/x", "example.com", 8443, b"/x", "example.com:8443", b"example.com:8443"),
    ("http://example.com:443/x", "example.com", 443, b"/x", "example.com:443", b"example.com:443"),
    (
        "https://example.com?a=1&b[]=%20",
        "example.com",
        443,
        b"/?a=1&b[]=%20",
        "example.com:443",
        b"example.com",
    ),
    (
        "https://example.com/%2e%2E/%00?",
        "example.com",
        443,
        b"/%2e%2E/%00?",
        "example.com:443",
        b"example.com",
    ),
    ("https://example.com/@a:b@c", "example.com", 443, b"/@a:b@c", "example.com:443", b"example.com"),
    (
        "https://b\u00fccher.example/",
        "xn--bcher-kva.example",
        443,
        b"/",
        "xn--bcher-kva.example:443",
        b"xn--bcher-kva.example",
    ),
    (
        "https://B\u00dcCHER.example/",
        "xn--bcher-kva.example",
        443,
        b"/",
        "xn--bcher-kva.example:443",
        b"xn--bcher-kva.example",
    ),
    (
        "https://xn--bcher-kva.example/",
        "xn--bcher-kva.example",
        443,
        b"/",
        "xn--bcher-kva.example:443",
        b"xn--bcher-kva.example",
    ),
    ("https://my_service:8080/", "my_service", 8080, b"/", "my_service:8080", b"my_service:8080"),
    ("http://127.0.0.1:80/", "127.0.0.1", 80, b"/", "127.0.0.1:80", b"127.0.0.1"),
    ("https://[2606:4700:0::1]/", "2606:4700::1", 443, b"/", "[2606:4700::1]:443", b"[2606:4700::1]"),
    (
        "https://[::FFFF:7f00:1]:1/",
        "::ffff:127.0.0.1",
        1,
        b"/",
        "[::ffff:127.0.0.1]:1",
        b"[::ffff:127.0.0.1]:1",
    ),
]

# Different readers of these URLs see different hosts, or a host that is not what it seems.
REFUSED = [
    ("http://2130706433/", "host_spelling"),
    ("http://017700000001/", "host_spelling"),
    ("http://0x7f000001/", "host_spelling"),
    ("http://0x7f.1/", "host_spelling"),
    ("http://127.1/", "host_spelling"),
    ("http://127.0.1/", "host_spelling"),
    ("http://0177.0.0.1/", "host_spelling"),
    ("http://127.0.0.01/", "host_spelling"),
    ("http://127.0.0.0x1/", "host_spelling"),
    ("http://0x/", "host_spelling"),
    ("http://0/", "host_spelling"),
    ("http://127.0.0.1./", "host_spelling"),
    ("http://256.0.0.1/", "host_spelling"),
    ("http://1.2.3.4.5/", "host_spelling"),
    ("http://example.1/", "host_spelling"),
    ("http://\uff11\uff12\uff17.0.0.1/", "host_spelling"),  # full-width digits
    ("http://127\u30020\u30020\u30021/", "host_spelling"),  # ideographic full stops
    ("http://127\uff0e0\uff0e0\uff0e1/", "host_spelling"),  # full-width full stops
    ("http://b\u00fccher\u3002example/", "host_spelling"),
    ("http://\u2460\u2461\u2466.0.0.1/", "host_spelling"),  # circled digits
    ("http://\u24d4xample.com/", "host_spelling"),
    ("http://exa\u00admple.com/", "host_spelling"),  # soft hyphen, which would vanish
    ("http://\ufb00.example/", "host_spelling"),  # ligature ff
    ("http://\u212aelvin.example/", "host_spelling"),  # Kelvin sign, folds to k
    ("http://example\u2044.com/", "host_spelling"),
    ("http://\ud800.example/", "host_spelling"),
    ("http://user@example.com/", "userinfo"),
    ("http://user:password@example.com/", "userinfo"),
    ("http://example.com@127.0.0.1/", "userinfo"),
    ("http://@example.com/", "userinfo"),
    ("http://127.0.0.1%40example.com/", "host"),
    ("http://example.com%2f@127.0.0.1/", "userinfo"),
    ("http://%31%32%37.0.0.1/", "host_spelling"),
    ("http://example.com\\@127.0.0.1/", "characters"),
    ("http:\\\\example.com/", "characters"),
    ("http://example.com\t/", "characters"),
    ("http://exam\nple.com/", "characters"),
    ("http://example.com/\r\nX: y", "characters"),
    ("http://example.com/\x00", "characters"),
    ("http://example.com/a b", "characters"),
    ("http://example.com/\u2028", "characters"),
    (" http://example.com/", "characters"),
    ("http://example.com/ ", "characters"),
    ("http://example.com/#a", "fragment"),
    ("http://example.com#@127.0.0.1/", "fragment"),
    ("http://example.com/\u00fc", "target"),
    ("http://example.com/\uff0f", "target"),
    ("http://example.com/<a>", "target"),
    ("http://", "host"),
    ("http:///path", "host"),
    ("http://:80/", "host"),
    ("http://./", "host"),
    ("http://example.com../", "host"),
    ("http://.example.com/", "host"),
    ("http://exa..mple.com/", "host"),
    ("http://-example.com/", "host"),
    ("http://example-.com/", "host"),
    ("http://" + "a" * 64 + ".com/", "host"),
    ("http://" + "a." * 127 + "aa/", "host"),
    ("http://exa*mple.com/", "host"),
    ("http://example.com:/", "port"),
    ("http://example.com:0/", "port"),
    ("http://example.com:080/", "port"),
    ("http://example.com:65536/", "port"),
    ("http://example.com:+80/", "port"),
    ("http://example.com:8_0/", "port"),
    ("http://example.com:\u0661/", "port"),
    ("http://example.com:80:80/", "port"),
    ("http://[::1/", "host"),
    ("http://::1/", "host"),
    ("http://[::1]x/", "host"),
    ("http://[127.0.0.1]/", "host"),
    ("http://[fe80::1%25eth0]/", "host"),
    ("http://[fe80::1%eth0]/", "host"),
    ("http://[v1.x]/", "host"),
    ("example.com/", "form"),
    ("//example.com/", "form"),
    ("http:/example.com/", "form"),
    ("http:example.com/", "form"),
    ("", "form"),
    ("ftp://example.com/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:6379/_x", "scheme"),
    ("javascript://example.com/", "scheme"),
    ("http://example.com/" + "a" * MAX_URL, "length"),
]


@pytest.mark.parametrize(("text", "host", "port", "target", "host_and_port", "authority"), ACCEPTED)
def test_good_urls_have_one_spelling(
    text: str, host: str, port: int, target: bytes, host_and_port: str, authority: bytes
) -> None:
    scheme = text[: text.index(":")].lower()
    origin = Origin(scheme, host, port)
    key = f"{scheme}://{host_and_port}"
    assert parse_url(text, https_only=False) == Url(scheme, host, port, target, key, authority, origin)


@pytest.mark.parametrize(("text", "rule"), REFUSED)
def test_ambiguous_urls_are_refused(text: str, rule: str) -> None:
    with pytest.raises(UrlRefused) as caught:
        parse_url(text, https_only=False)
    assert caught.value.rule == rule
    assert caught.value.code == ("scheme_forbidden" if rule == "scheme" else "url_invalid")


@pytest.mark.parametrize(
    "texts",
    [
        ("https://example.com", "HTTPS://Example.COM.:443/a?b", "https://EXAMPLE.com./"),
        (
            "https://b\u00fccher.example/",
            "https://B\u00dcCHER.example.:443/",
            "https://XN--BCHER-KVA.example/",
        ),
        ("https://[2001:DB8::0:1]/", "https://[2001:db8:0:0:0:0:0:1]:443/x"),
        ("http://example.com", "http://example.com:80/"),
    ],
)
def test_one_host_has_one_key(texts: tuple[str, ...]) -> None:
    assert len({parse_url(text, https_only=False).host_key for text in texts}) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("https://example.com:8080", "http://example.com:8080"),
        ("https://example.com", "https://example.com:8443"),
        ("https://example.com", "https://www.example.com"),
        ("https://[::ffff:192.0.2.1]/", "https://192.0.2.1/"),
    ],
)
def test_what_is_connected_to_in_another_way_is_another_host(texts: tuple[str, ...]) -> None:
    assert len({parse_url(text, https_only=False).host_key for text in texts}) == len(texts)


def test_http_is_refused_unless_it_is_switched_on() -> None:
    assert parse_url("http://example.com/", https_only=False).port == 80
    with pytest.raises(UrlRefused) as caught:
        parse_url("http://example.com/", https_only=True)
    assert (caught.value.rule, caught.value.code) == ("scheme", "scheme_forbidden")


@pytest.mark.parametrize("port", [80, 443, 1024, 8443, 65535])
def test_web_ports_and_high_ones_may_be_sent_to(port: int) -> None:
    assert UrlPolicy().parse(f"https://example.com:{port}/").port == port


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 444, 636, 1023])
def test_other_low_ports_are_refused_unless_they_are_configured(port: int) -> None:
    with pytest.raises(UrlRefused, match="80, 443 or one from 1024 on") as caught:
        UrlPolicy().parse(f"https://example.com:{port}/")
    assert (caught.value.rule, caught.value.code) == ("port", "port_forbidden")
    assert UrlPolicy(ports=(port,)).parse(f"https://example.com:{port}/").port == port


def test_ports_can_be_restricted() -> None:
    policy = UrlPolicy(ports=(8443, 443))
    assert policy.parse("https://example.com:8443/").port == 8443
    assert policy.parse("https://example.com/").port == 443
    for port in (22, 80, 8080):
        with pytest.raises(UrlRefused, match="443, 8443") as caught:
            policy.parse(f"https://example.com:{port}/")
        assert (caught.value.rule, caught.value.code) == ("port", "port_forbidden")


@pytest.mark.parametrize("host", ["metadata", "METADATA.", "localhost", "com", "my_service", "xn--bcher-kva"])
def test_names_without_a_dot_are_refused(host: str) -> None:
    with pytest.raises(UrlRefused, match="with a dot") as caught:
        UrlPolicy().parse(f"https://{host}/")
    assert (caught.value.rule, caught.value.code) == ("host_single_label", "url_invalid")


@pytest.mark.parametrize("host", ["a.b", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]"])
def test_names_with_a_dot_and_addresses_are_left_to_the_rules_for_addresses(host: str) -> None:
    assert UrlPolicy().parse(f"https://{host}/").host == host.strip("[]")


def test_the_refusal_quotes_nothing_of_the_url() -> None:
    with pytest.raises(UrlRefused) as caught:
        parse_url("https://user:hunter2@example.com/")
    assert "hunter2" not in str(caught.value)


@given(
    st.one_of(
        st.text(),
        st.text().map("https://".__add__),
        st.text(alphabet="htps:/@.[]%#?\\0x17f").map("http://".__add__),
    )
)
def test_any_text_is_parsed_into_safe_parts_or_refused(text: str) -> None:
    try:
        url = parse_url(text, https_only=False)
    except UrlRefused:
        return
    assert re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+", url.host)
    assert 1 <= url.port <= 65535
    assert re.fullmatch(rb"/[\x21-\x7e]*", url.target)
    assert re.fullmatch(rb"[a-z0-9_.:\[\]-]+", url.authority)
    again = parse_url(f"{url.host_key}{url.target.decode()}", https_only=False)
    assert again == url
