import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.request_ids import request_id


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_visible_ascii_is_kept_as_a_request_id(text: str) -> None:
    assert request_id(text) == text


@given(st.one_of(st.none(), st.text(max_size=5).filter(lambda text: not text.isascii()), st.just("x" * 129)))
def test_anything_else_gets_a_new_one(offered: str | None) -> None:
    first, second = request_id(offered), request_id(offered)
    assert first != second
    assert first.isascii()


@pytest.mark.parametrize("offered", ["", "a b", "a\tb", "a\x7f", "a\r\nb"])
def test_blanks_and_controls_get_a_new_one(offered: str) -> None:
    assert request_id(offered) != offered
