# Covers daemon.filters.tokens.

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings

from daemon.filters import MAX_LENGTH, FilterRefused, path_of, shown, stored
from daemon.filters.objects import condition_of
from daemon.filters.text import parse
from daemon.filters.tree import Condition, check_amount
from daemon.filters.writing import write
from daemon.signing.canonical import BigInteger
from tests.support.filter_model import OBJECTS, conditions

NORMAL = {
    '$.country == "DE"': 'strict $."country" == "DE"',
    "  strict $.a<5": 'strict $."a" < 5',
    "5 < $.a": 'strict $."a" > 5',
    '"x" <> $.a': 'strict $."a" != "x"',
    '$."first-name" == null': 'strict $."first-name" == null',
    "$.size.type.exists.strict[last] == true": 'strict $."size"."type"."exists"."strict"[last] == true',
    "$.a == 1 || $.b == 2 && $.c == 3": 'strict $."a" == 1 || ($."b" == 2 && $."c" == 3)',
    "($.a == 1 || $.b == 2) && !($.c == 3)": 'strict ($."a" == 1 || $."b" == 2) && !($."c" == 3)',
    "!exists($.a)": 'strict !(exists($."a"))',
    "$.a ? (@.b == 1).c STARTS WITH \"x\"": 'strict $."a" ? (@."b" == 1)."c" starts with "x"',
    'exists($.tags[*]?(@ == "urgent"))': 'strict exists($."tags"[*] ? (@ == "urgent"))',
    "$.a == -0.50": 'strict $."a" == -0.50',
    "$.a == -0e9": 'strict $."a" == 0',
    r'$.a == "\u00e9\n\ud83d\ude00"': 'strict $."a" == "é\\n😀"',
    "$.größe.size() >= 2": 'strict $."größe".size() >= 2',
    '$.name starts with "$..like_regex ?($ .** "': 'strict $."name" starts with "$..like_regex ?($ .** "',
}  # fmt: skip

# What is at fault, and of the reason a word or two.
REFUSED = {
    "(" + " + ".join(["$.n % $.m"] * 60) + ") < 0": ("character 6 (`%`)", "no arithmetic"),
    "(" + "+".join(["(1e131071/7)%(1e65000/3)"] * 9) + ") > $.a": ("character 3 (a number)", "40 ch"),
    "$.a[*]" + ".abs()" * 160 + " == 1": ("character 8 (`abs`)", "no functions but"),
    "-" * 900 + "$.a == 1": ("character 1 (`-`)", "no arithmetic"),
    "- 5 < $.a": ("character 1 (`-`)", "no arithmetic"),
    "(" * 900: ("character 13 (`(`)", "12 conditions"),
    "!" * 900 + "($.a == 1)": ("character 2 (`!`)", "parentheses"),
    "!(" * 900 + "$.a == 1" + ")" * 900: ("character 26 (`(`)", "12 conditions"),
    "!$.a == 1": ("character 2 (`$`)", "as !($.a == 1)"),
    "$.a[*] == $.b[*]": ("character 11 (`$`)", "two paths"),
    "$.a[*].b[*] == 1": ("character 10 (`*`)", "one [*]"),
    "$[*][*] == 1": ("character 6 (`*`)", "one [*]"),
    "$.a[*] ? (@[*] == 1) == 3": ("character 13 (`*`)", "one [*]"),
    "$.a[0,0] == 1": ("character 6 (`,`)", "one index"),
    "$.a[0 to last] == 1": ("character 7 (`to`)", "one index"),
    "$.a[-1] == 1": ("character 5 (a number)", "one index"),
    "$.a[9999999] == 1": ("character 5 (a number)", "at most 999999"),
    "$.** == 1": ("character 3 (`**`)", "names each member"),
    "$.* == 1": ("character 3 (`*`)", "names each member"),
    "$.a.keyvalue() == 1": ("character 5 (`keyvalue`)", ".size() and .type()"),
    '$.a.datetime() < "2020-01-01"': ("character 5 (`datetime`)", ".size() and .type()"),
    "$.a.size().b == 1": ("character 11 (`.`)", "nothing follows"),
    '$.a like_regex "(a+)+$"': ("character 5 (`like_regex`)", "no regular expressions"),
    "($.a == 1) is unknown": ("character 12 (`is`)", "exists(…)"),
    "$.a == $secret": ("character 8 (`$`)", "two paths"),
    "$secret == 1": ("character 2 (a name)", "no variables"),
    "exists($.a ? ($.b == 1))": ("character 15 (`$`)", "begin with @"),
    "@.a == 1": ("character 1 (`@`)", "begin with $"),
    "exists($.a ? (exists(@.b ? (@ == 1))))": ("character 26 (`?`)", "cannot hold another"),
    "$.a" + " ? (@ == 1" * 300: ("character 15 (`?`)", "&& or ||"),
    "exists($.a == 1)": ("character 12 (`==`)", "holds a path"),
    "exists $.a": ("character 8 (`$`)", "in parentheses"),
    "$.active": ("character 1 (`$`)", "== true"),
    "$.a == 1 && $.active": ("character 13 (`$`)", "== true"),
    "($.a) == 1": ("character 2 (`$`)", "compared with nothing"),
    "1 == 1": ("character 6 (a number)", "a path must stand"),
    '"1"': ("its end (character 4)", "a comparison"),
    "": ("its end (character 1)", "must stand here"),
    "$.a == 1)": ("character 9 (`)`)", "or the end"),
    "($.a == 1": ("its end (character 10)", "of character 1 is not closed"),
    "$.a == 1 $.b == 2": ("character 10 (`$`)", "&& or ||"),
    "$.a = 1": ("character 5 (`=`)", "with =="),
    "$.a == 'x'": ("character 8 (`'`)", "double quotes"),
    '$.a == "x': ('character 8 (`"`)', "does not end"),
    '$.a == "\\x41"': ("character 8", "as JSON has it"),
    r'$.a == "\u0000"': ("character 8", "NUL"),
    '$.a == "\0"': ("character 8", "NUL"),
    r'$.a == "\ud800"': ("character 8", "surrogate"),
    '$.a == "\ud800"': ("character 8", "surrogate"),
    '$."\ud800" == 1': ("character 3", "surrogate"),
    "$.\ud800 == 1": ("character 3", "means nothing"),
    "\uff04.a == 1": ("character 1 (a character)", "means nothing"),
    "$.a == \u0661": ("character 8 (a character)", "as JSON does"),
    "$.a[\u0661] == 1": ("character 5 (a character)", "as JSON does"),
    "$.a == 1e999999999999999999999999": ("character 8", "a double can hold"),
    "$.a == 1e-400": ("character 8", "a double can hold"),
    "$.a == " + "1" * 41: ("character 8", "40 characters"),
    "$.a == " + "1" * 131_000: ("", "131007 characters"),
    '$.a == "' + "x" * 5000 + '"': ("", "5009 characters"),
    "$.a == 007": ("character 8 (`0`)", "as JSON does"),
    "$.a == 0x1F": ("character 8 (`0`)", "as JSON does"),
    "$.a == 1 /* so */": ("character 10 (`/`)", "no arithmetic"),
    "$" + ".a" * 21 + " == 1": ("character 42", "20 steps"),
    "lax $.a == 1": ("character 1 (`lax`)", "strict mode"),
    " || ".join(["$.a == 1"] * 301): ("", "301 comparisons"),
    " || ".join(["$.a[*] == 1"] * 6): ("", "6 comparisons on every element"),
    "exists($.a[*] ? (" + " || ".join(["@ == 1"] * 6) + "))": ("", "6 comparisons on every element"),
}  # fmt: skip

REFUSED_OBJECTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "no condition"),
    ({"a": {}}, "/a", "no condition"),
    ({"a": [1, 2]}, "/a", "$in"),
    ({"a": {"$in": 1}}, "/a/$in", "a list of values"),
    ({"a": {"$in": []}}, "/a/$in", "a list of values"),
    ({"a": {"$nin": [1, [2]]}}, "/a/$nin/1", "must be a text"),
    ({"a": {"$regex": "(a+)+"}}, "/a/$regex", "not an operator"),
    ({"a/b~": {"$exists": 1}}, "/a~1b~0/$exists", "true or false"),
    ({"a": {"$gt": True}}, "/a/$gt", "a number or a text"),
    ({"a": {"$startsWith": 1}}, "/a/$startsWith", "a text"),
    ({"$gt": 5}, "/$gt", "belongs to a member"),
    ({"$or": {"a": 1}}, "/$or", "a list"),
    ({"$or": []}, "/$or", "a list"),
    ({"$and": [{"a": 1}, 2]}, "/$and/1", "an object"),
    ({"$not": "a"}, "/$not", "an object"),
    ({"score.$gt": 1}, "/score.$gt", "below the member"),
    ({"": 1}, "/", "no path"),
    ({"a..b": 1}, "/a..b", "without a name"),
    ({"a.": 1}, "/a.", "without a name"),
    ({"a[0": 1}, "/a[0", "no path"),
    ({'"a': 1}, '/"a', "no path"),
    ({'"\\x"': 1}, '/"\\x"', "as JSON has it"),
    ({"a[*].b[*]": 1}, "/a[*].b[*]", "one [*]"),
    ({"a[*]": {"b[*]": 1}}, "/a[*]/b[*]", "one [*]"),
    ({"a[*]": {"$in": [1, 2, 3, 4, 5, 6]}}, "", "6 comparisons on every element"),
    ({"a[99999999]": 1}, "/a[99999999]", "too high an index"),
    ({"a": float("inf")}, "/a", "a double can hold"),
    ({"a": float("nan")}, "/a", "a double can hold"),
    ({"a": 10**50}, "/a", "40 characters"),
    ({"a": 10**3000}, "/a", "40 characters"),
    ({"a": BigInteger("1" * 131_000)}, "", "characters as JSON"),
    ({"a": BigInteger("1" * 700)}, "/a", "40 characters"),
    ({"a": "\0"}, "/a", "NUL"),
    ({"a\ud800": 1}, "/a\ud800", "surrogate"),
    ({"a": "x" * 5000}, "", "characters as JSON"),
    ({"a": {"$in": list(range(51))}}, "", "51 values"),
    ({"$or": [{"a": 1}] * 51}, "", "51 values"),
    (json.loads('{"a":' * 11 + "1" + "}" * 11), "/a" * 10, "too deep"),
    (json.loads('{"$not":' * 300 + '{"a":1}' + "}" * 300), "/$not" * 10, "too deep"),
    ({".".join("a" * 21): 1}, "/" + ".".join("a" * 21), "20 members"),
]


@pytest.mark.parametrize("text", NORMAL)
def test_a_filter_has_one_normal_form(text: str) -> None:
    assert path_of(text) == NORMAL[text]
    assert path_of(NORMAL[text]) == NORMAL[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_allowed_is_refused_with_its_place_and_the_remedy(text: str) -> None:
    place, reason = REFUSED[text]
    with pytest.raises(FilterRefused) as caught:
        path_of(text)
    assert place in caught.value.detail
    assert reason in caught.value.detail
    assert len(caught.value.detail) < 250
    assert caught.value.pointer == ""


@pytest.mark.parametrize("source, pointer, reason", REFUSED_OBJECTS)
def test_an_object_is_refused_with_a_pointer_to_the_part_at_fault(
    source: dict[str, Any], pointer: str, reason: str
) -> None:
    with pytest.raises(FilterRefused) as caught:
        path_of(source)
    assert caught.value.pointer == pointer
    assert reason in caught.value.detail


@given(conditions())
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_as_the_same_tree(tree: Condition) -> None:
    try:
        check_amount(tree)
    except FilterRefused:
        assume(False)
    assert parse(write(tree)) == tree


@given(OBJECTS)
@settings(max_examples=100, deadline=None)
def test_an_object_is_written_as_a_text_that_is_allowed(source: Any) -> None:
    source = json.loads(json.dumps(source, default=float))
    try:
        tree = condition_of(source)
    except FilterRefused as refused:
        assume("use at most" not in str(refused))  # too much of what is allowed
        raise
    text = write(tree)
    assume(len(text) <= MAX_LENGTH)
    assert parse(text) == tree
    assert shown(stored(source)) == source


def test_the_deepest_and_the_widest_object_can_be_read_back() -> None:
    deep = {"$or": [{"$and": [{"$not": {"$or": [{"a": {"$ne": 1}}, {"b": 1}]}}, {"c": 1}]}, {"d": 1}]}
    many = {"$or": [{f"member.{n}": {"$startsWith": "x"}} for n in range(20)]}
    for source in (deep, many, {"a": {"$nin": list(range(50))}}):
        tree = condition_of(source)
        assert parse(write(tree)) == tree


def test_a_text_is_kept_as_it_was_written() -> None:
    assert shown(stored(" $.a  ==  1 ")) == " $.a  ==  1 "
