"""Retry-After in all forms that RFC 9110 allows, and in those that it does not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.retry_after import parse_retry_after

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)
DAY = 86400.0


def seconds(value: bytes, now: datetime = NOW, maximum: float = DAY) -> float | None:
    return parse_retry_after(value, now=now, maximum=maximum)


@pytest.mark.parametrize(
    "value, expected",
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 120\t", 120.0),
        (b"0000120", 120.0),
        (b"-5", 0.0),
        (b"86401", DAY),
        (b"9" * 60, DAY),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        (b"sun, 06 nov 1994 08:49:37 gmt", 30.0),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        (b"Sun Nov  6 08:49:37 1994", 30.0),
        (b"Wed Nov 16 08:49:37 1994", DAY),
        (b"Sun, 06 Nov 1994 08:49:60 GMT", 52.0),
        (b"Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        (b"Sunday, 06-Nov-50 08:49:37 GMT", 0.0),  # 2050 would be more than 50 years ahead: 1950
        (b"Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        (b"Sat, 01 Jan 0001 00:00:00 GMT", 0.0),
    ],
)
def test_known_values(value: bytes, expected: float) -> None:
    assert seconds(value) == expected


def test_two_digit_years_ahead_are_ahead() -> None:
    now = datetime(2026, 3, 10, 10, tzinfo=UTC)
    assert seconds(b"Tuesday, 10-Mar-26 10:00:10 GMT", now) == 10.0
    assert seconds(b"Tuesday, 10-Mar-76 10:00:10 GMT", now) == DAY
    assert seconds(b"Thursday, 10-Mar-77 10:00:10 GMT", now) == 0.0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"soon",
        b"1.5",
        b"+5",
        b"1e3",
        b"0x10",
        b"1 2",
        b"--5",
        b"1_000",
        b"9" * 65,
        "١٢".encode(),
        b"\xff\xfe",
        b"5\0",
        b"5\n",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Xyz 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"Sun, 06 Nov 1994 08:49:37",
        b"1994-11-06T08:49:37Z",
    ],
)
def test_what_is_neither_seconds_nor_a_date_says_nothing(value: bytes) -> None:
    assert seconds(value) is None


moments = st.integers(-30_000_000_000, 250_000_000_000).map(
    lambda at: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
)


@given(moments, st.integers(-(10**6), 10**6))
def test_every_form_of_a_date_means_the_same(now: datetime, ahead: int) -> None:
    try:
        then = now + timedelta(seconds=ahead)
    except OverflowError:
        then = now
    expected = min(max((then - now).total_seconds(), 0.0), DAY)
    if then.year >= 1000:
        assert seconds(format_datetime(then, usegmt=True).encode(), now) == expected
        assert seconds(then.ctime().encode(), now) == expected


@given(st.binary(max_size=80) | st.text("0123456789-:, SunNovGMT", max_size=40).map(str.encode), moments)
def test_hostile_bytes_never_raise_and_never_leave_the_bounds(value: bytes, now: datetime) -> None:
    found = seconds(value, now, 100.0)
    assert found is None or 0.0 <= found <= 100.0
