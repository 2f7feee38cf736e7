import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from api.idempotency import HEADER, idempotency_key
from api.problems import Problem

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


def key_of(*values: str) -> str | None:
    headers = Headers()
    for value in values:
        headers.add(HEADER, value)
    return idempotency_key(headers)


def test_no_header_is_no_key() -> None:
    assert key_of() is None


@given(st.text(VISIBLE, min_size=1, max_size=255).filter(lambda text: '"' not in text and "," not in text))
def test_a_bare_key_is_itself(text: str) -> None:
    assert key_of(text) == text


@given(st.text(st.one_of(VISIBLE, st.just(" ")), min_size=1, max_size=255))
def test_a_quoted_key_is_what_is_quoted(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert key_of(f'"{quoted}"') == text


def test_bare_and_quoted_are_the_same_key() -> None:
    assert key_of('"8e03978e-40d5"') == key_of("8e03978e-40d5") == key_of(" 8e03978e-40d5 ")


@pytest.mark.parametrize(
    "values",
    [
        [""],
        ['""'],
        ["a b"],
        ['"a'],
        ['a"'],
        ['"a"b"'],
        ['"\\a"'],
        ['"a\\"'],
        ['"a";p=1'],
        ["a,b"],
        ["é"],
        ['"é"'],
        ["a\tb"],
        ["a\x00b"],
        ["a" * 256],
        ['"' + "a" * 256 + '"'],
        ["a", "b"],
        ["a", "a"],
    ],
)
def test_anything_else_is_refused_with_a_remedy(values: list[str]) -> None:
    with pytest.raises(Problem) as refusal:
        key_of(*values)
    assert refusal.value.status == 400
    assert "1 to 255 visible ASCII" in refusal.value.detail
