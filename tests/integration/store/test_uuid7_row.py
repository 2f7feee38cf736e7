"""UUIDv7 in a row, as a batch of events gets them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from tests.support.postgres import Session

Connect = Callable[[], Awaitable[Session]]

AT = datetime(2026, 6, 3, 12, 0, 0, 999_990, tzinfo=UTC)


async def test_they_are_valid_ascending_and_a_microsecond_apart(connect: Connect) -> None:
    session = await connect()
    ids = await session.fetchval("select hookd.uuid7_row($1, 2000)", AT)
    assert len(set(ids)) == 2000
    assert [str(one) for one in ids] == sorted(str(one) for one in ids)
    for number, one in enumerate(ids, 1):
        whole = one.int
        assert (whole >> 76) & 0xF == 7
        assert (whole >> 62) & 0b11 == 0b10
        moment = AT + timedelta(microseconds=number)
        micros = round(moment.timestamp() * 1_000_000)
        assert whole >> 80 == micros // 1000
        assert (whole >> 64) & 0xFFF == micros % 1000 * 4096 // 1000


async def test_two_rows_of_one_moment_share_no_identifier(connect: Connect) -> None:
    session = await connect()
    first = await session.fetchval("select hookd.uuid7_row($1, 1000)", AT)
    second = await session.fetchval("select hookd.uuid7_row($1, 1000)", AT)
    assert not set(first) & set(second)


async def test_none_are_none(connect: Connect) -> None:
    session = await connect()
    assert await session.fetchval("select hookd.uuid7_row($1, 0)", AT) == []
