"""The curl line says what the wire says, whatever is in it."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.egress.connection import encode_request
from daemon.egress.curl import curl_arguments, sent
from daemon.egress.errors import EgressError
from daemon.egress.url import parse_url

URL = parse_url("https://example.com/hook?a=1")
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
NAMES = st.from_regex(r"x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), TEXTS)
def test_a_shell_reads_back_the_very_arguments(headers: list[tuple[str, str]], body: str) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers]
    request = sent("POST", URL, given, body.encode())
    arguments = curl_arguments(request.method, request.url, request.headers, request.body)
    assert shlex.split(request.curl) == arguments
    assert request.body == body
    assert request.url == "https://example.com/hook?a=1"


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda one: one[0].lower()))
def test_the_headers_are_those_of_the_wire(headers: list[tuple[str, str]]) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers]
    request = sent("POST", URL, given, b"{}")
    lines = [b"POST /hook?a=1 HTTP/1.1"]
    lines += [f"{name}: {value}".encode() for name, value in request.headers]
    assert b"\r\n".join([*lines, b"", b"{}"]) == encode_request("POST", URL, given, b"{}")


def test_what_curl_adds_by_itself_is_turned_off_unless_it_is_given() -> None:
    plain = curl_arguments("POST", "https://example.com/", [("Host", "example.com")], "@secrets")
    assert plain == [
        *("curl", "-sSi", "--http1.1", "--globoff", "--path-as-is", "-X", "POST", "https://example.com/"),
        *("-H", "Accept:", "-H", "Expect:", "--data-raw", "@secrets"),
    ]
    given = curl_arguments("POST", "https://example.com/", [("accept", "a/b"), ("X-Empty", "")], "")
    assert given[8:] == ["-H", "accept: a/b", "-H", "X-Empty;", "-H", "Expect:", "--data-raw", ""]


def test_a_header_that_could_end_its_line_has_no_curl_line() -> None:
    with pytest.raises(EgressError) as caught:
        sent("POST", URL, [(b"x-note", b"a\r\nX-Evil: b")], b"")
    assert caught.value.code == "header_invalid"
