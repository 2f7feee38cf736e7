"""Durations and sizes: what is read, what is refused, and that what is shown is read back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.durations import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("5d", 432_000),
        ("1h30m", 5400),
        ("1d2h3m4s5ms", 93_784.005),
        ("1.5h", 5400),
        ("45", 45),
        ("0.5", 0.5),
        ("0s", 0),
    ],
)
def test_reads_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 m", "m", "5x", "30m1h", "1h1h", "-5s", "1e3", "5M", "inf", "nan", "٣s", "5s\n", "9" * 40],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_a_shown_duration_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.floats(0.001, 1e9).map(lambda seconds: round(seconds, 6)))
def test_fractions_of_a_millisecond_survive(seconds: float) -> None:
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (86_400, "1d"), (0.25, "250ms"), (61.5, "1m1s500ms")]
)
def test_shows_a_duration_with_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65_536),
        ("1MiB", 1_048_576),
        ("8MB", 8_000_000),
        ("2 GiB", 2**31),
        ("17", 17),
        ("5B", 5),
        ("1kB", 1000),
    ],
)
def test_reads_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1.5MiB", "MiB", "1mib", "1 TB", "-1", "1M", "٣", "1MiB\n"])
def test_refuses_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(text)


@given(st.integers(0, 2**45))
def test_a_shown_size_is_read_back(size: int) -> None:
    assert parse_size(str(format_size(size))) == size
