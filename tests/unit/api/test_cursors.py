from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import Cursors, page_limit
from api.problems import Problem

CURSORS = Cursors(b"k" * 32)
ORG = UUID(int=1)
OTHER = UUID(int=2)

positions = st.text(max_size=100)
filters = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


def refused(
    cursor: str, *, cursors: Cursors = CURSORS, org: UUID = ORG, kind: str = "a", **filters: str
) -> None:
    with pytest.raises(Problem) as caught:
        cursors.read(cursor, org_id=org, listing=kind, filters=filters)
    assert caught.value.status == 400


@given(positions, filters)
def test_a_cursor_leads_back_to_its_place(position: str, by: dict[str, str]) -> None:
    cursor = CURSORS.write(position, org_id=ORG, listing="a", filters=by)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?#% ")
    assert CURSORS.read(cursor, org_id=ORG, listing="a", filters=dict(reversed(by.items()))) == position


def test_a_cursor_is_bound_to_organisation_list_filters_and_key() -> None:
    cursor = CURSORS.write("here", org_id=ORG, listing="a", filters={"status": "failed"})
    refused(cursor)
    refused(cursor, status="succeeded")
    refused(cursor, status="failed", more="x")
    refused(cursor, org=OTHER, status="failed")
    refused(cursor, kind="b", status="failed")
    refused(cursor, cursors=Cursors(b"x" * 32), status="failed")


@given(positions, st.data())
def test_a_changed_cursor_is_refused(position: str, data: st.DataObject) -> None:
    cursor = CURSORS.write(position, org_id=ORG, listing="a", filters={})
    index = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_"))
    changed = cursor[:index] + letter + cursor[index + 1 :]
    try:
        read = CURSORS.read(changed, org_id=ORG, listing="a", filters={})
    except Problem:
        return
    assert read == position  # the last letter holds bits that carry nothing


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    refused(text)


def test_a_key_is_not_shown() -> None:
    assert "kkk" not in repr(CURSORS)


@given(st.integers(1, 100))
def test_limits_from_1_to_100_are_taken(limit: int) -> None:
    assert page_limit(str(limit)) == limit


def test_the_limit_is_50_unless_told() -> None:
    assert page_limit(None) == 50


@pytest.mark.parametrize("text", ["", "0", "101", "1e1", " 1", "+1", "²", "00000001"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(Problem):
        page_limit(text)
