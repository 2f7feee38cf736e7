import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.custom_headers import refusals

PREFIX = "X-Alter-"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Api-Key", "x-trace", "X-Alterations", "Accept", "traceparent"],
)
def test_a_header_of_ones_own_may_be_sent(name: str) -> None:
    assert refusals({name: "Bearer abc=="}, PREFIX) == {}


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content-Type",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
        "Cookie",
        "Expect",
        "Webhook-Id",
        "webhook-signature",
        "X-Alter-Event",
        "x-alter-anything",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "User-Agent",
        "Accept-Encoding",
        "Sec-Fetch-Site",
    ],
)
def test_what_hookd_or_the_connection_writes_is_refused(name: str) -> None:
    assert "choose another name" in refusals({name: "x"}, PREFIX)[name]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a" * 65, "a\0"])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert name in refusals({name: "x"}, PREFIX)


@pytest.mark.parametrize("value", ["", " x", "x ", "a\r\nHost: b", "a\nb", "ü", "a" * 1025, "\0", "\x7f"])
def test_a_value_that_cannot_stand_in_a_header_is_refused(value: str) -> None:
    assert "printable ASCII" in refusals({"X-Key": value}, PREFIX)["X-Key"]


@pytest.mark.parametrize("value", ["*", "***", "*" * 40])
def test_what_answers_show_in_place_of_a_value_is_refused(value: str) -> None:
    assert "give the value itself" in refusals({"Authorization": value}, PREFIX)["Authorization"]
    assert refusals({"Accept": "*/*"}, PREFIX) == {}


def test_the_same_name_in_other_letters_is_refused() -> None:
    assert list(refusals({"X-Key": "a", "x-key": "b"}, PREFIX)) == ["x-key"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5))
def test_what_passes_can_never_break_out_of_its_line(headers: dict[str, str]) -> None:
    refused = refusals(headers, PREFIX)
    for name, value in headers.items():
        if name not in refused:
            line = f"{name}: {value}"
            assert line.isascii() and not set("\r\n\0") & set(line)
