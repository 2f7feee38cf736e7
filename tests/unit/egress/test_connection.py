import pytest

from daemon.egress.connection import encode_request
from daemon.egress.errors import (
    DETAIL_LIMIT,
    EgressError,
    printable,
)
from daemon.egress.url import parse_url

URL = parse_url("https://example.com:8443/a%20b?c=d")


def test_a_post_has_exactly_these_bytes() -> None:
    assert encode_request("POST", URL, [(b"webhook-id", b"1"), (b"X-Empty", b"")], b"{}") == (
        b"POST /a%20b?c=d HTTP/1.1\r\n"
        b"Host: example.com:8443\r\n"
        b"Accept-Encoding: identity\r\n"
        b"webhook-id: 1\r\n"
        b"X-Empty: \r\n"
        b"Content-Length: 2\r\n"
        b"\r\n"
        b"{}"
    )


def test_an_empty_post_has_a_length_and_a_get_has_none() -> None:
    assert b"Content-Length: 0\r\n" in encode_request("POST", URL, [], b"")
    assert b"Content-Length" not in encode_request("GET", URL, [], b"")


@pytest.mark.parametrize("value", [b"a\r\nX: y", b"a\nb", b"a\rb", b"a\x00b", b"\r\n", b"a\n"])
def test_a_value_that_could_end_its_line_is_refused(value: bytes) -> None:
    with pytest.raises(EgressError) as caught:
        encode_request("POST", URL, [(b"X-Event", value)], b"")
    assert caught.value.code == "header_invalid"
    assert "X-Event" in caught.value.detail


@pytest.mark.parametrize(
    "name",
    [b"", b"a b", b"a:", b"a\r\n", b"a\n", b"\xc3\xa9", b"Host", b"content-length", b"Transfer-Encoding",
     b"Connection", b"ACCEPT-ENCODING", b"Expect", b"Upgrade"],
)  # fmt: skip
def test_a_name_that_would_change_the_request_is_refused(name: bytes) -> None:
    with pytest.raises(EgressError) as caught:
        encode_request("POST", URL, [(name, b"1")], b"")
    assert caught.value.code == "header_invalid"


@pytest.mark.parametrize("method", ["CONNECT", "HEAD", "get", "POST / HTTP/1.1\r\nX:"])
def test_methods_with_answers_of_another_shape_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        encode_request(method, URL, [], b"")


def test_details_are_one_bounded_printable_line() -> None:
    assert printable("a\r\nb\x00c\x1b[31m") == "a  b c [31m"
    assert len(EgressError("timeout", "x" * 10_000).detail) == DETAIL_LIMIT
    assert printable("x" * DETAIL_LIMIT) == "x" * DETAIL_LIMIT
