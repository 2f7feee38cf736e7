# Covers daemon.egress.head_repair.

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.egress.answer import Answer
from daemon.egress.errors import EgressError, Phases
from daemon.egress.imperfections import LONGER
from daemon.egress.response import ResponseReader
from tests.support.imperfect_answers import IMPERFECT, Imperfect

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "imperfect-answers.md"
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
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b"", True),
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


def read(data: bytes, cuts: list[int], **limits: int) -> ResponseReader:
    """Feed `data` in pieces that end at `cuts`, as a connection would, until the reader has enough."""
    reader = ResponseReader()
    read_with(reader, data, cuts, **limits)
    return reader


def begun() -> ResponseReader:
    """Return a reader that expects a response."""
    reader = ResponseReader()
    reader.begin(max_response=65536, excerpt=4096)
    return reader


def read_with(reader: ResponseReader, data: bytes, cuts: list[int], **limits: int) -> None:
    """Feed one response."""
    reader.begin(**{"max_response": 65536, "excerpt": 4096, **limits})
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(edges):
        while start < end and not reader.done:
            size = min(end - start, reader.room)
            reader.feed(data[start : start + size])
            start += size


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
    assert not reader.note


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
    assert reader.note == LONGER


def outcome(one: Imperfect, cuts: list[int]) -> tuple[int | None, str | None, str | None]:
    """Return the status and note that an answer gets, or the error, when it comes in pieces."""
    try:
        reader = read(one.answer, cuts) if one.answer else begun()
        if not reader.done:
            if one.ending == "close":
                reader.end()
            elif one.ending == "reset":
                reader.lose()
            elif reader.status:
                reader.expire()
            else:
                return None, None, "timeout"
    except EgressError as error:
        return None, None, error.code
    assert reader.done
    assert not (reader.reusable and reader.note)
    return reader.status, reader.note, None


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in IMPERFECT])
@pytest.mark.parametrize("piece", [1, 7, 16 * 1024])
def test_a_status_that_came_counts_and_what_was_imperfect_is_noted(one: Imperfect, piece: int) -> None:
    size = piece if len(one.answer) < 1000 else piece * 40
    status, note, error = outcome(one, list(range(0, len(one.answer), size)))
    assert (status, error) == (one.status, one.error)
    found = set(note.split("; ") if note else ())
    if LONGER in (one.note, note):
        # In pieces, what follows the answer comes only after its end, and is not read any more.
        assert found <= {LONGER}
    else:
        assert found - {LONGER} == ({one.note} if one.note else set())


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in IMPERFECT if one.body is not None])
@pytest.mark.parametrize("piece", [1, 7, 16 * 1024])
def test_the_body_of_an_imperfect_answer_is_kept(one: Imperfect, piece: int) -> None:
    assert read(one.answer, list(range(0, len(one.answer), piece))).excerpt == one.body


@pytest.mark.parametrize(("data", "status", "body", "reusable"), WHOLE)
def test_an_end_before_the_last_byte_counts_once_the_status_line_is_there(
    data: bytes, status: int, body: bytes, reusable: bool
) -> None:
    line = data.index(b"\r\n", data.rindex(b"HTTP/")) + 2
    for length in range(1, len(data)):
        reader = read(data[:length], [])
        if reader.done:
            continue
        if length < line:
            with pytest.raises(EgressError) as caught:
                reader.end()
            assert caught.value.code == "connection_lost"
        else:
            reader.end()
            assert (reader.done, reader.status, reader.reusable) == (True, status, False)
            assert reader.note


@pytest.mark.parametrize("piece", [1, 7, 5000])
def test_a_large_head_that_is_malformed_is_read_in_time_that_grows_with_it(piece: int) -> None:
    data = b"HTTP/1.1 200 OK\nX: a\n" + b"Y: b\n" * 20_000 + b"\n"
    reader = read(data, list(range(0, len(data), piece)))
    assert (reader.status, reader.note) == (200, "lines end without CR")


def test_the_headers_of_a_malformed_head_are_put_right() -> None:
    reader = read(
        b"HTTP/1.1 503 Later\nRetry-After : 7\nX: a\n b\nTransfer-Encoding: chunked\nContent-Length: 9\n"
        b"junk\nY: c\0d\n\n2\r\nok\r\n0\r\n\r\n",
        [],
    )
    answer = Answer(reader.status, reader.head, reader.excerpt, reader.truncated, Phases(), reader.note)
    assert (answer.status, answer.excerpt) == (503, b"ok")
    assert answer.header(b"retry-after") == b"7"
    assert (answer.header(b"x"), answer.header(b"y")) == (b"a b", b"c d")
    assert answer.note == (
        "lines end without CR; a space stands before a header's colon; a header is folded over lines; "
        "a header line has no colon; a header has control characters in it; "
        "Transfer-Encoding comes with Content-Length"
    )


@pytest.mark.parametrize(
    ("data", "stray"),
    [(b"lo", True), (b"0\r\n\r\n", True), (b"\r\n", True), (b"HT", False), (b"HTTP/1.1 500 ", False)],
)
def test_what_no_answer_begins_with_is_stray(data: bytes, stray: bool) -> None:
    reader = begun()
    with suppress(EgressError):
        reader.feed(data)
    assert reader.is_stray == stray


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
    assert reader.note == ("Transfer-Encoding is not chunked" if coding else "")


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
        read(OK + b"X: y\r\n" * 500, cuts, max_response=500, max_head=1000)
    assert caught.value.code == "response_too_large"


@given(cuts=cuts)
def test_headers_beyond_the_limit_of_a_response_leave_no_room_for_its_body(cuts: list[int]) -> None:
    data = OK + b"X: y\r\n" * 500 + b"Content-Length: 10\r\n\r\nsome bytes"
    reader = read(data, cuts, max_response=500)
    assert (reader.done, reader.status, reader.note) == (True, 200, "")


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
    assert status == 200 or code == "connection_lost"


def test_the_reference_tells_of_each_imperfection() -> None:
    text = REFERENCE.read_text()
    for one in IMPERFECT:
        held = ", kept open" * (one.ending == "hold" and "kept" not in one.name)
        outcome = one.status or f"`{one.error}`"
        assert f"| {one.name}{held} | {outcome} | {one.note or ''} | " in text
