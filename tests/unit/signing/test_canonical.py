"""Canonical JSON against `json.dumps`, a slow rendering by hand, and texts that attack."""

import json
import math
import sys
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.signing.canonical import BigInteger, Unrepresentable, canonical, event_body, parse

DEPTH = 64

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**700), max_value=10**700)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30)


def plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def reference(value: Any) -> str:
    """The canonical form written out by hand, without the json module."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b"}
        out = ""
        for character in value:
            if character in named:
                out += named[character]
            elif " " <= character <= "~":
                out += character
            else:
                units = character.encode("utf-16-be").hex()
                out += "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
        return f'"{out}"'
    if isinstance(value, list):
        return "[" + ",".join(map(reference, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{reference(key)}:{reference(value[key])}" for key in sorted(value)) + "}"
    return repr(value)


@given(documents)
@example("-0")
@example(-0.0)
@example({"b": [1, 2.50, {"é": "😀"}], "a": "\\u0000", "\\": '\\"[{'})
def test_equals_json_dumps_and_the_reference(value: Any) -> None:
    text = canonical(value)
    assert text == plain(value)
    assert text == reference(value)
    assert text.isascii()


@given(documents, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_spelling_of_a_value_has_one_canonical_form(value: Any, ascii_only: bool, indent: Any) -> None:
    spelled = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    text = canonical(parse(spelled, max_depth=1000))
    assert text == plain(value)
    assert canonical(parse(spelled.encode(), max_depth=1000)) == text
    assert canonical(parse(text, max_depth=1000)) == text


@pytest.mark.parametrize(
    "given, expected",
    [
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1.10", "1.1"),
        ("1E2", "100.0"),
        ("1e-300", "1e-300"),
        ("9007199254740993", "9007199254740993"),
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"b":1,"a":2,"B":3}', '{"B":3,"a":2,"b":1}'),
        ('"\\ud83d\\ude00"', '"\\ud83d\\ude00"'),
        ('"\\u00e9\\/\x7f"', '"\\u00e9/\\u007f"'),
        ('"\\\\u0000"', '"\\\\u0000"'),
        ('"\\\\ud800"', '"\\\\ud800"'),
        (" [ ] ", "[]"),
    ],
)
def test_known_spellings(given: str, expected: str) -> None:
    assert canonical(parse(given, max_depth=DEPTH)) == expected


@given(st.text("0123456789", min_size=641, max_size=6000).map(lambda digits: "7" + digits), st.booleans())
def test_long_integers_are_exact_wherever_they_stand(digits: str, negative: bool) -> None:
    number = f"-{digits}" if negative else digits
    text = f'{{"a":[{number},"{number}",1,{number}1],"b":{number}}}'
    value = parse(text, max_depth=DEPTH)
    assert canonical(value) == text
    assert isinstance(value, dict)
    assert value["b"] == BigInteger(number)


def test_a_million_digits_take_no_quadratic_time_and_leave_the_interpreters_limit_alone() -> None:
    limit = sys.get_int_max_str_digits()
    text = "[" + "9" * 1_000_000 + "]"
    started = time.process_time()
    assert canonical(parse(text, max_depth=DEPTH)) == text
    # Python's own conversion takes several seconds each way.
    assert time.process_time() - started < 1
    assert sys.get_int_max_str_digits() == limit


@pytest.mark.parametrize("digits", [639, 640, 641, 4300, 4301])
def test_integers_at_the_edges_of_pythons_limits(digits: int) -> None:
    text = "1" * digits
    assert canonical(parse(text, max_depth=DEPTH)) == text


def test_a_string_that_looks_like_a_placeholder_is_left_alone() -> None:
    text = json.dumps(["0" * 32, "f" * 32, ""]).replace(" ", "")[:-1] + "," + "8" * 700 + "]"
    assert canonical(parse(text, max_depth=DEPTH)) == text


@given(st.integers(0, 40), st.integers(0, 40), st.randoms(use_true_random=False))
def test_depth_counts_brackets_outside_strings_only(depth: int, limit: int, random: Any) -> None:
    value: Any = 'not "[[[[{{{{ deep \\'
    for _ in range(depth):
        shallow: list[Any] = [[] if depth > 1 else 0, '\\"]]', "}" * random.randrange(3)]
        value = (
            {'[{"\\': value, "k": 1} if random.random() < 0.5 else [*shallow[random.randrange(2) :], value]
        )
    spelled = json.dumps(value)
    deepest = _depth(value)
    if deepest <= limit:
        assert canonical(parse(spelled, max_depth=limit)) == plain(value)
    else:
        with pytest.raises(Unrepresentable, match=f"deeper than {limit} levels"):
            parse(spelled, max_depth=limit)


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@pytest.mark.parametrize(
    "text", ["[" * 500_000, "[" * 250_000 + "]" * 250_000, '{"a":' * 200_000, "[{" * 5000]
)
@pytest.mark.parametrize("limit", [DEPTH, 100_000])
def test_hostile_nesting_is_refused_without_recursion(text: str, limit: int) -> None:
    with pytest.raises(Unrepresentable):
        parse(text, max_depth=limit)


@pytest.mark.parametrize(
    "text, pointer, said",
    [
        ('{"a":[1,1e400]}', "/a/1", "beyond the range of a double"),
        ('{"a":[1,-1e999]}', "/a/1", "beyond the range of a double"),
        ('{"a":[0,1e-400]}', "/a/1", "too near to 0"),
        ('{"a":[0e-400,0.0,-0.0,5e-324,-1.5e-999]}', "/a/4", "too near to 0"),
        ("0." + "0" * 400 + "7", "", "too near to 0"),
        ("9" * 400 + ".5", "", "beyond the range of a double"),
        ('[{"x/y~z":NaN}]', "/0/x~1y~0z", "NaN"),
        ("[-Infinity]", "/0", "-Infinity"),
        ("Infinity", "", "Infinity"),
        ('{"a":{"b":"x\\u0000"}}', "/a/b", "NUL"),
        ('{"a":{"b\\u0000":1}}', "/a", "NUL"),
        ('["\\\\\\u0000"]', "/0", "NUL"),
        ('["\\ud800"]', "/0", "surrogate"),
        ('["\\uDFFFx"]', "/0", "surrogate"),
        ('["\\ud83d\\ud83d\\ude00"]', "/0", "surrogate"),
        ('["\\ude00\\ud83d"]', "/0", "surrogate"),
        ('["\\ud83d\\\\\\ude00"]', "/0", "surrogate"),
        ('{"k\\udc00":[]}', "", "surrogate"),
        ('{"a":"\\u0000","a":1}', None, "NUL"),
        ("[1e400,", None, "beyond the range of a double"),
    ],
)
def test_what_is_json_but_has_no_form_here_is_refused_with_its_place(
    text: str, pointer: str | None, said: str
) -> None:
    for form in (text, text.encode()):
        with pytest.raises(Unrepresentable) as caught:
            parse(form, max_depth=DEPTH)
        assert caught.value.pointer == pointer
        assert said in caught.value.reason
        assert (f'at "{pointer}"' in caught.value.reason) == (pointer is not None)
        assert "; " in caught.value.reason


@pytest.mark.parametrize(
    "text, line, column",
    [
        ("", 1, 1),
        (" \n\t", 1, 1),
        ("\ufeff1", 1, 1),
        (b"\xef\xbb\xbf1", 1, 1),
        (b'{"a":\n "\xff"}', 2, 3),
        (b'"\xed\xa0\x80"', 1, 2),
        ("{'a':1}", 1, 2),
        ('{"a":1\n "b":2}', 2, 2),
        ('"a\0b"', 1, 3),
        ("[1] 2", 1, 5),
        ("01", 1, 2),
        ("+1", 1, 1),
        (".5", 1, 1),
        ("nul", 1, 1),
        ("[1 2]", 1, 4),
        ('["abc', 1, 2),
        (b"\xff\xfe[\x001\x00]\x00", 1, 1),
    ],
)
def test_what_is_not_json_is_refused_with_line_and_column(text: str | bytes, line: int, column: int) -> None:
    with pytest.raises(Unrepresentable) as caught:
        parse(text, max_depth=DEPTH)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert "; " in caught.value.reason


def test_a_raw_lone_surrogate_is_refused() -> None:
    with pytest.raises(Unrepresentable, match="surrogate"):
        parse('"\ud800"', max_depth=DEPTH)


@given(st.binary(max_size=60) | st.text('[]{}",:\\ud80dbce0129-+.eEnult \n', max_size=60).map(str.encode))
def test_agrees_with_the_json_module_on_any_bytes(raw: bytes) -> None:
    try:
        expected = json.loads(raw.decode())
    except (ValueError, RecursionError):
        expected = Unrepresentable
    try:
        text = canonical(parse(raw, max_depth=DEPTH))
    except Unrepresentable:
        assert expected is Unrepresentable or _has_no_form(expected)
    else:
        assert text == plain(expected)
        assert not _has_no_form(expected)


def _has_no_form(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    if isinstance(value, dict):
        return any(_has_no_form(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(_has_no_form, value))
    return isinstance(value, float) and not math.isfinite(value)


def test_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(Unrepresentable):
        canonical([math.nan])
    with pytest.raises(Unrepresentable):
        canonical([BigInteger("1" * 700), math.inf])


def test_what_is_not_json_is_not_written() -> None:
    with pytest.raises(TypeError, match="set is not a JSON value"):
        canonical([{1}])  # type: ignore[list-item]


def test_an_events_body_is_canonical_and_its_time_is_that_of_its_id() -> None:
    event_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    body = event_body(event_id, "match.proposed", {"b": 1, "a": "é"})
    assert body == (
        '{"data":{"a":"\\u00e9","b":1},"id":"01890a5d-ac96-774b-bcce-b302099a8057",'
        '"timestamp":"2023-06-30T03:34:18.518Z","type":"match.proposed"}'
    )
    assert canonical(parse(body, max_depth=DEPTH)) == body


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": 1, "a": 1}', ""),
        ('{"a": 1, "\\u0061": 2}', ""),
        ('[1, {"b": {"c": 1, "d": 2, "c": 3}}]', "/1/b"),
        ('{"a": {"a": 1}, "b": [{"x": 1}, {"x": 1, "x": {}}]}', "/b/1"),
    ],
)
def test_a_repeated_key_is_refused_where_asked_to(text: str, pointer: str) -> None:
    with pytest.raises(Unrepresentable, match="key twice") as caught:
        parse(text, max_depth=10, unique_keys=True)
    assert caught.value.pointer == pointer
    assert parse(text, max_depth=10) == json.loads(text)


@given(documents)
def test_unique_keys_change_nothing_else(value: Any) -> None:
    text = json.dumps(value)
    assert parse(text, max_depth=500, unique_keys=True) == parse(text, max_depth=500)
