import pytest

from api.filters import refusal

# As Postgres writes them.
ALLOWED = [
    'strict ($."country" == "DE")',
    'strict ($."country" == "DE" && $."score" > 0.5 || !($."x" == null))',
    'strict ($."tags"[*] == "urgent")',
    'strict ($."tags"[*] == "urgent" || $."labels"[*] == "urgent")',
    'strict exists ($."items"[*]?(@."kind" == "a" && @."n" > 3))',
    'strict ($."name" starts with "$..like_regex ?($ .** ")',
    'strict ($."list".size() > 3)',
    'strict ($."a" == 1) is unknown',
    'strict $."active"',
    'strict ($."a"[0] == $."b"[1])',
]


@pytest.mark.parametrize("normal", ALLOWED)
def test_a_filter_of_bounded_cost_is_allowed(normal: str) -> None:
    assert refusal(normal) is None


@pytest.mark.parametrize(
    "normal, word",
    [
        ('strict "1"', "looks at nothing"),
        ("strict (1 == 1)", "looks at nothing"),
        ('strict ($."a" like_regex "(a+)+$")', "like_regex"),
        ('strict ($.**."b" == 1)', ".**"),
        ('strict ($.**{2 to last}."b" == 1)', ".**"),
        ('strict ($."a" == $"x")', "variable"),
        ('strict ($."a".keyvalue()."key" == "x")', "keyvalue"),
        ('strict ($."a".datetime() < "2020-01-01".datetime())', "datetime"),
        ('strict ($."a"[*] == $."b"[*])', "two wildcards"),
        ('strict ($."a".* == $."b".*)', "two wildcards"),
        ('strict ($."a"[0 to 9999] == $."b"[0 to last])', "two wildcards"),
        ('strict exists ($."a"[*]?($."b"[*] == @))', "looks at $"),
        ('strict exists ($."a"[*]?(@."x" == 1 && $."b"[*] == 2))', "looks at $"),
        ('strict exists ($."a"[*]?(exists (@."b"?(@ == 1))))', "holds another"),
        ("strict (" + " && ".join(['$."a" == 1'] * 11) + ")", "more than 10"),
        ("strict ($" + "[0,0]" * 40 + " == 1)", "several subscripts"),
        ('strict ($."a"[*]?(1 == 1 || 1 == 1) == $."b"[*])', "two wildcards"),
        ('strict ($."a"[*]?(@[*] == 1 || @ == 2) == 3)', "two wildcards"),
    ],
)
def test_a_filter_that_could_take_for_ever_is_refused_with_the_reason(normal: str, word: str) -> None:
    found = refusal(normal)
    assert found is not None
    assert word in found
