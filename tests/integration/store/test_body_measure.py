"""There is one measure of an event: the bytes of its canonical body, whichever way it is published."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from daemon.signing.canonical import event_body
from daemon.uuid7 import uuid7
from tests.support.postgres import Session

Connect = Callable[[], Awaitable[Session]]
MAX_BODY = 1024 * 1024
TYPE = "match.proposed"


@pytest.fixture
async def session(connect: Connect) -> Session:
    session = await connect()
    await session.execute("select hookd.make_partitions(now(), now())")
    return session


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def canonical(value: Any) -> int:
    return len(event_body(uuid7(), TYPE, value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -12,
        1.5,
        "",
        [],
        {},
        [[], {}, [1, [2, 3]], {"a": {}, "b": [{}]}],
        {
            "a, b: c": 'quoted " and \\ and \\" , : ',
            "\\": "\\\\",
            "é": ["ü", "€", "😀", "\u007f", "\u0001", "\n", "\u2028"],
        },
        ["x, y", "a: b", {"k": "v, w"}],
        {"n": 10**400, "m": -0.001},
    ],
)
async def test_sql_counts_what_is_sent(session: Session, value: Any) -> None:
    counted = await session.fetchval("select hookd.body_size($1, $2::text::jsonb::text)", TYPE, shown(value))
    assert counted == canonical(value)


def of_size(unit: str, size: int) -> list[str]:
    """Return data whose canonical body has `size` bytes, of as many of `unit` as go into it."""
    each = len(json.dumps(unit)) - 2
    room = size - canonical(["", ""])
    return [unit * (room // each), "x" * (room % each)]


@pytest.mark.parametrize("unit", ["x", "é", "€", "😀", "\u007f", '"', " , : "])
async def test_the_limit_is_the_same_to_the_byte(session: Session, unit: str) -> None:
    for size, taken in ((MAX_BODY, True), (MAX_BODY + 1, False)):
        data = of_size(unit, size)
        assert canonical(data) == size
        publishing = session.fetchval(
            "select hookd.publish($1, $2, $3::text::jsonb)", uuid4(), TYPE, shown(data)
        )
        if taken:
            assert await publishing
        else:
            with pytest.raises(asyncpg.InvalidParameterValueError, match=f"{size} bytes as it is sent"):
                await publishing


async def test_small_values_count_without_their_blanks(session: Session) -> None:
    room = (MAX_BODY - canonical([])) // 2
    data = [1] * (room - 1)  # jsonb prints 1.5 MiB
    assert await session.fetchval("select hookd.publish($1, $2, $3::text::jsonb)", uuid4(), TYPE, shown(data))
