from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.egress.errors import EgressError, Phases
from daemon.egress.response import MAX_INTERIM, Answer, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# Response, status, body, whether the connection may be used again.
WHOLE = [
    (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    (OK + b"content-length: 2\r\nconnection: close\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 302, b"", True),
    (CHUNKED + b"2;a=b\r\nok\r\n1\r\n!\r\n0\r\n\r\n", 200, b"ok!", True),
    (CHUNKED + b"0\r\nX-Trailer: y\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (
        b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" * 2 + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        500,
        b"",
        True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
]

BAD = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x00\x01\x02\x03",
    b"220 mail.example.com ESMTP\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 abc No\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\nConnection: keep-alive\r\n\r\nok",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 99999999999999999999999999\r\n\r\n",
    OK + b"Content-Length : 2\r\n\r\nok",
    OK + b"X: a\r\n folded\r\n\r\n",
    OK + b"X: a\x00b\r\n\r\n",
    CHUNKED + b"zz\r\n",
    CHUNKED + b"fffffffffffffffff1\r\n",
    CHUNKED + b"2\r\nokay\r\n",
]


def read(data: bytes, cuts: list[int], **limits: int) -> ResponseReader:
    """Feed `data` in pieces that end at `cuts`, as a connection would, until the reader has enough."""
    reader = ResponseReader()
    read_with(reader, data, cuts, **limits)
    return reader


def read_with(reader: ResponseReader, data: bytes, cuts: list[int], **limits: int) -> None:
    """Feed one response."""
    reader.begin(max_response=limits.get("max_response", 65536), excerpt=limits.get("excerpt", 4096))
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(edges):
        if reader.done:
            break
        reader.feed(data[start : min(end, start + reader.room)])


cuts = st.lists(st.integers(0, 500), max_size=6)


@pytest.mark.parametrize(("data", "status", "body", "reusable"), WHOLE)
@given(cuts=cuts)
def test_whole_responses_are_read_however_they_are_cut(
    data: bytes, status: int, body: bytes, reusable: bool, cuts: list[int]
) -> None:
    reader = read(data, cuts)
    assert reader.done
    assert (reader.status, reader.excerpt, reader.reusable) == (status, body, reusable)
    assert not reader.truncated


@given(st.lists(st.sampled_from([one for one in WHOLE if one[3]]), max_size=4), st.sampled_from(WHOLE), cuts)
def test_responses_follow_each_other_on_a_connection(
    before: list[tuple[bytes, int, bytes, bool]], last: tuple[bytes, int, bytes, bool], cuts: list[int]
) -> None:
    reader = ResponseReader()
    for data, status, body, reusable in [*before, last]:
        read_with(reader, data, cuts)
        found = (reader.status, reader.excerpt, reader.done, reader.reusable)
        assert found == (status, body, True, reusable)
        assert data.startswith(reader.head)


@pytest.mark.parametrize(("data", "status", "body", "reusable"), WHOLE)
@pytest.mark.parametrize(
    "surplus", [b"\r\n", b"x", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"\r\n\r\nHTTP/1.1 "]
)
def test_bytes_after_the_response_forbid_reuse_and_change_nothing_else(
    data: bytes, status: int, body: bytes, reusable: bool, surplus: bytes
) -> None:
    reader = read(data + surplus, [])
    assert (reader.done, reader.status, reader.excerpt, reader.reusable) == (True, status, body, False)


@pytest.mark.parametrize("data", BAD)
@given(cuts=cuts)
def test_what_is_not_http_is_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    with pytest.raises(EgressError) as caught:
        read(data, cuts)
    assert caught.value.code == "protocol_error"


@pytest.mark.parametrize(("data", "status", "body", "reusable"), WHOLE)
def test_an_end_before_the_last_byte_is_a_lost_connection(
    data: bytes, status: int, body: bytes, reusable: bool
) -> None:
    for length in range(1, len(data)):
        reader = read(data[:length], [])
        if reader.done:
            continue
        with pytest.raises(EgressError) as caught:
            reader.end()
        assert caught.value.code == "connection_lost"


@pytest.mark.parametrize(
    "coding",
    [
        b"",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    ],
)
def test_a_body_without_framing_ends_with_the_connection(coding: bytes) -> None:
    reader = read(OK + coding + b"\r\nsome text", [20, 40])
    assert not reader.done
    reader.end()
    assert (reader.done, reader.status, reader.excerpt, reader.reusable) == (True, 200, b"some text", False)


@given(cuts=cuts, length=st.integers(0, 300), kept=st.integers(0, 300))
def test_the_excerpt_is_the_beginning_of_the_body(cuts: list[int], length: int, kept: int) -> None:
    body = bytes(index % 251 for index in range(length))
    reader = read(OK + b"Content-Length: %d\r\n\r\n" % length + body, cuts, excerpt=kept)
    assert reader.excerpt == body[:kept]
    assert reader.truncated == (length > kept)
    assert reader.reusable


@given(cuts=cuts, body=st.binary(max_size=100))
def test_a_body_beyond_the_limit_still_gives_the_status(cuts: list[int], body: bytes) -> None:
    head = OK + b"Content-Length: 1000\r\n\r\n"
    reader = read(head + body.ljust(1000), cuts, max_response=len(head) + 100)
    assert (reader.done, reader.status, reader.truncated, reader.reusable) == (True, 200, True, False)
    assert reader.received == len(head) + 100
    assert reader.excerpt == body.ljust(100)


@given(cuts=cuts)
def test_headers_beyond_the_limit_are_too_large(cuts: list[int]) -> None:
    with pytest.raises(EgressError) as caught:
        read(OK + b"X: y\r\n" * 1000, cuts, max_response=500)
    assert caught.value.code == "response_too_large"


@given(cuts=cuts)
def test_headers_of_interim_responses_and_trailers_are_left_out(cuts: list[int]) -> None:
    reader = read(
        b"HTTP/1.1 103 Early\r\nA: 1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nB: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nC: 3\r\n\r\n",
        cuts,
    )
    answer = Answer(reader.status, reader.head, reader.excerpt, reader.truncated, Phases())
    assert answer.headers == [(b"B", b"2"), (b"Transfer-Encoding", b"chunked")]
    assert (answer.header(b"b"), answer.header(b"a"), answer.header(b"c")) == (b"2", None, None)


@given(st.binary(min_size=1, max_size=300), cuts)
def test_any_bytes_end_in_an_answer_an_error_or_a_wait(data: bytes, cuts: list[int]) -> None:
    status, code = 0, ""
    try:
        reader = read(b"HTTP/1.1 200 OK\r\n" + data, cuts)
        if not reader.done:
            reader.end()
        status = reader.status
    except EgressError as error:
        code = error.code
    assert status == 200 or code in ("protocol_error", "connection_lost")
