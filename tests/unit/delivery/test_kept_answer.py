import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.kept_answer import (
    MAX_CHARACTERS,
    MAX_HEADERS,
    MAX_VALUE_LENGTH,
    excerpt_of,
    headers_worth_keeping,
)
from daemon.egress.answer import Answer
from daemon.egress.errors import Phases


def answer(*lines: bytes, status: int = 500, body: bytes = b"") -> Answer:
    head = b"HTTP/1.1 %d Answer\r\n" % status + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return Answer(status, head, body, False, Phases())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"Content-Type: text/html; charset=utf-8", ("content-type", "text/html; charset=utf-8")),
        (b"Retry-After: 120", ("retry-after", "120")),
        (b"retry-after-ms: 500", ("retry-after-ms", "500")),
        (b"Server: nginx/1.25", ("server", "nginx/1.25")),
        (b"X-Amzn-RequestId: a-b", ("x-amzn-requestid", "a-b")),
        (b"X-Request-ID: 7", ("x-request-id", "7")),
        (b"RateLimit: limit=10, remaining=0", ("ratelimit", "limit=10, remaining=0")),
        (b"X-RateLimit-Reset: 5", ("x-ratelimit-reset", "5")),
        (b"X-Rate-Limit-Limit: 5", ("x-rate-limit-limit", "5")),
        (b"CF-Mitigated: challenge", ("cf-mitigated", "challenge")),
        (b"Location: https://a:b@x.test/p?token=t#f", ("location", "https://x.test/p?***")),
        (b"Location: /login?next=1", ("location", "/login?***")),
        (b"Location: http://[x", ("location", "***")),
        (b"Set-Cookie: session=secret; Path=/", ("set-cookie", "***")),
        (b"Authorization: Bearer secret", ("authorization", "***")),
        (b"Authentication-Info: nextnonce=1", ("authentication-info", "***")),
        (b'WWW-Authenticate: Bearer realm="x", error="y"', ("www-authenticate", "Bearer ***")),
        (b"WWW-Authenticate: Negotiate", ("www-authenticate", "Negotiate")),
        (b"Via: bearer abc.def", ("via", "***")),
        (b"Via: eyJhbGciOi.eyJzdWIi.c2ln", ("via", "***")),
        (b"Server: whsec_c2VjcmV0", ("server", "***")),
        (b"Server: a\tb", ("server", "a b")),
    ],
)
def test_what_helps_is_kept_and_what_is_secret_is_masked(line: bytes, shown: tuple[str, str]) -> None:
    assert headers_worth_keeping(answer(line, b"X-Other: 1", b"X-Api-Key: k"), failed=True) == dict([shown])


def test_a_good_answer_leaves_what_names_the_request_and_its_coding() -> None:
    plain = (b"Content-Type: text/plain", b"Date: Mon, 01 Jan 2026 00:00:00 GMT", b"Set-Cookie: a=b")
    assert headers_worth_keeping(answer(*plain, status=200), failed=False) is None
    found = headers_worth_keeping(
        answer(*plain, b"X-Request-Id: 7", b"Content-Encoding: br", status=200), failed=False
    )
    assert found == {"x-request-id": "7", "content-encoding": "br"}


def test_values_of_one_name_are_joined() -> None:
    found = headers_worth_keeping(
        answer(b"Via: a", b"Set-Cookie: a", b"via: b", b"Set-Cookie: b"), failed=True
    )
    assert found == {"via": "a, b", "set-cookie": "***"}


@given(st.integers(0, 100), st.integers(0, 2000))
def test_what_is_kept_is_bounded(count: int, length: int) -> None:
    lines = [b"X-RateLimit-%d: %s" % (number, b"x" * length) for number in range(count)] + [b"Via: a"] * count
    kept = headers_worth_keeping(answer(*lines), failed=True) or {}
    assert len(kept) <= MAX_HEADERS
    assert all(len(value) <= MAX_VALUE_LENGTH for value in kept.values())
    assert sum(len(name) + len(value) for name, value in kept.items()) <= MAX_CHARACTERS


@pytest.mark.parametrize(
    ("coding", "body", "shown"),
    [
        (b"gzip", gzip.compress(b"busy", mtime=0), "(in gzip, not shown)"),
        (b"br", b"\x0b\x01\x80busy\x03", "(in br, not shown)"),
        (b"gzip", b"in truth plain \xc3", "in truth plain \ufffd"),
        (b"identity", b"\xff", "\ufffd"),
        (b"", b"\xff\0", "\ufffd\ufffd"),
        (b"gzip", b"", ""),
    ],
)
def test_a_body_in_a_coding_is_named_by_it(coding: bytes, body: bytes, shown: str) -> None:
    one = answer(b"Content-Encoding: " + coding, body=body)
    assert excerpt_of(one, headers_worth_keeping(one, failed=False)) == shown
