"""Arrays in steps: the same as in one go, whatever they hold and wherever a window ends."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.signing import json_array
from daemon.signing.canonical import JSON, Unrepresentable, parse
from daemon.signing.json_array import BadElement, ElementLimits, elements, is_array

LIMITS = ElementLimits(max_bytes=100_000, max_values=1000, max_depth=20)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(params=[7, 40, json_array.WINDOW])
def window(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_array, "WINDOW", request.param)
    return int(request.param)


def read(raw: bytes, limits: ElementLimits = LIMITS) -> list[JSON]:
    return [value for step in elements(raw, limits) for value in step]


@given(st.lists(values, max_size=5), st.booleans(), st.sampled_from([None, 1, "\t"]), st.integers(1, 60))
@example([], True, None, 1)
@example(["é😀", "\\", '"', ",[{"], False, None, 3)
def test_steps_give_what_one_go_gives(given: list[Any], ascii_only: bool, indent: Any, size: int) -> None:
    raw = f" {json.dumps(given, ensure_ascii=ascii_only, indent=indent)}\n".encode()
    assert is_array(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "WINDOW", size)
        assert read(raw) == parse(raw, max_depth=500)


@given(st.text('[]{}",:\\u0aé -+.eEnult\n', max_size=40).map(lambda text: f"[{text}".encode()))
@example(b"[1,]")
@example(b"[,1]")
@example(b"[1")
@example(b'["a')
@example(b"[]]")
@example(b"[1]\n 2")
@example('[1,\n "é" x]'.encode())
@example(b'[{"a":1]')
def test_what_is_not_json_is_told_as_in_one_go(raw: bytes) -> None:
    def outcome(work: Any) -> Any:
        try:
            return work()
        except BadElement:
            return "cannot be taken"
        except Unrepresentable as error:
            return "cannot be taken" if error.line is None else (error.line, error.column, error.reason)

    expected = outcome(lambda: parse(raw, max_depth=20, unique_keys=True))
    for size in (5, 12, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_array, "WINDOW", size)
            assert outcome(lambda: read(raw)) == expected


def test_a_step_reads_no_more_than_a_window(window: int) -> None:
    raw = json.dumps([{"number": number} for number in range(50)]).encode()
    assert all(len(json.dumps(step)) <= max(window, 16) + 2 for step in elements(raw, LIMITS))


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("[" + "0," * 1000 + "0]", "more than 1000 values"),
        ('{"a":"' + "x" * 100_000 + '"}', "longer than 100000 bytes"),
        ("[" * 21 + "]" * 21, "deeper than 20 levels"),
        ("[" * 5000 + "]" * 5000, "than"),
        ("1e400", "beyond the range of a double"),
        ('{"a":1,"a":2}', "key twice"),
        ('"\\u0000"', "NUL"),
        ('"\\ud800"', "surrogate"),
    ],
)
def test_an_element_that_cannot_be_taken_is_named(window: int, element: str, said: str) -> None:
    with pytest.raises(BadElement) as caught:
        read(f'["before", {element}, "after"]'.encode())
    assert caught.value.index == 1
    assert said in caught.value.fault.reason


@pytest.mark.parametrize(
    "element", ["[" + "0," * 998 + "0]", '"' + ",[{" * 5000 + '"', '"' + "é" * 49_000 + '"']
)
def test_an_element_at_its_limits_is_taken_whatever_follows(window: int, element: str) -> None:
    raw = f"[1, {element}, {','.join(['[0,0,0]'] * 3000)}]".encode()
    assert read(raw) == json.loads(raw)


def test_bytes_that_are_no_text_are_placed(window: int) -> None:
    with pytest.raises(Unrepresentable, match="not UTF-8 at line 2, byte 3"):
        read(b'["a",\n "\xff"]')


def test_the_beginning_of_a_long_array_says_nothing_of_its_end(window: int) -> None:
    raw = b"[" + b"[]," * 2_700_000
    first = next(elements(raw, LIMITS))
    assert first == [[]] * len(first)
    assert len(first) <= max(1, window)
