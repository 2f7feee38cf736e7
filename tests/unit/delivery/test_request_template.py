"""A template that is filled in is the very request that is made anew."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.request_template import RequestTemplate
from daemon.egress.connection import encode_request
from daemon.egress.errors import EgressError
from daemon.egress.url import parse_url
from daemon.signing.secrets import generate_private_key, generate_secret, parse_secret
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, stamp

VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
NAMES = st.from_regex(r"x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
TARGETS = st.from_regex(r"/[A-Za-z0-9%{}b._-]{0,30}", fullmatch=True)
KEYS = (parse_secret(generate_secret()), parse_secret(generate_private_key()))


@given(
    TARGETS,
    st.lists(st.tuples(NAMES, VALUES), max_size=4, unique_by=lambda one: one[0].lower()),
    st.uuids(),
    st.uuids(),
    VALUES,
    st.integers(0, 2**40),
    st.binary(max_size=100),
)
def test_a_filled_form_is_what_encoding_the_headers_makes(
    path: str,
    own: list[tuple[str, str]],
    event_id: UUID,
    delivery_id: UUID,
    event_type: str,
    timestamp: int,
    body: bytes,
) -> None:
    url = parse_url(f"https://example.com{path}")
    headers = [(name.encode(), value.encode()) for name, value in own]
    settings = HeaderSettings("X-100%b-", "hookd/1 (%s)")
    message = Message(event_id, delivery_id, event_type, timestamp, body)
    whole = attempt_headers(stamp(KEYS, message), settings, headers)
    made = RequestTemplate(url, KEYS, headers, settings).render(message)
    assert made == encode_request("POST", url, whole, body)


@pytest.mark.parametrize("headers", [[(b"Host", b"a")], [(b"x-a", b"1\r\nx-b: 2")], [(b"x a", b"1")]])
def test_a_header_that_cannot_be_sent_makes_no_form(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(EgressError, match="header_invalid"):
        RequestTemplate(parse_url("https://example.com/"), KEYS, headers, HeaderSettings("X-", "hookd"))


@pytest.mark.parametrize("prefix, user_agent", [("X\n", "hookd"), ("X-", "hookd\r\nx: y")])
def test_settings_that_cannot_stand_in_a_header_make_no_form(prefix: str, user_agent: str) -> None:
    with pytest.raises(EgressError, match="header_invalid"):
        RequestTemplate(parse_url("https://example.com/"), KEYS, [], HeaderSettings(prefix, user_agent))
