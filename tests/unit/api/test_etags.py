import pytest

from api.etags import expected_revisions, matches
from api.problems import Problem


@pytest.mark.parametrize(
    "conditions, revisions",
    [
        ([], None),
        (["*"], None),
        (['"7"'], {7}),
        ([' "12" '], {12}),
        (['"12.3"'], {12}),
        (['W/"7"'], set()),
        (['"x"', '"7.x"', '"7."'], set()),
        (['"7", "8.1"'], {7, 8}),
        (['"7","a,b" , W/"8"', '"9"'], {7, 9}),
        ([', "7",,', ""], {7}),
    ],
)
def test_if_match_names_revisions(conditions: list[str], revisions: set[int] | None) -> None:
    assert expected_revisions(conditions) == revisions


@pytest.mark.parametrize(
    "conditions",
    [["7"], ['"7'], [""], ["W/7"], [","], ['"7" "8"'], ['"7", *'], ["*", "*"], ['"7"', "8"], ['"7 8"']],
)
def test_another_if_match_is_refused(conditions: list[str]) -> None:
    with pytest.raises(Problem) as caught:
        expected_revisions(conditions)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "condition, hit",
    [
        (None, False),
        ("*", True),
        ('"1"', True),
        ('W/"1"', True),
        ('"2", "1"', True),
        ('"2"', False),
        ("1", False),
    ],
)
def test_if_none_match_compares_weakly(condition: str | None, hit: bool) -> None:
    assert matches(condition, '"1"') is hit
