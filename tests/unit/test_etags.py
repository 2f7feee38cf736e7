import pytest

from api.etags import expected_revision, matches
from api.problems import Problem


@pytest.mark.parametrize(
    "condition, revision", [(None, None), ("*", None), ('"7"', 7), (' "12" ', 12), ('W/"7"', -1), ('"x"', -1)]
)
def test_if_match_names_a_revision(condition: str | None, revision: int | None) -> None:
    assert expected_revision(condition) == revision


@pytest.mark.parametrize("condition", ["7", '"7', '"7", "8"', "", "W/7"])
def test_another_if_match_is_refused(condition: str) -> None:
    with pytest.raises(Problem) as caught:
        expected_revision(condition)
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
