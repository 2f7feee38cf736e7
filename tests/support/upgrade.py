"""A database as an older hookd left it, moved in time to a few days ago, so that a test of it never ages."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_PARTITION = re.compile(r"\b(event|attempt)_(\d{8})")
_UUID7 = re.compile(r"\b([0-9a-f]{8})-([0-9a-f]{4})(-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})\b")
_MOMENT = re.compile(r"\b(20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d)")
_WEEK = timedelta(weeks=1)
_MIN_AGE = timedelta(days=2)


@dataclass(frozen=True)
class OldDatabase:
    """`schema` and `data` are SQL; `told` is what its maker noted beside it (see upgrade/make.py)."""

    schema: str
    data: str
    told: dict[str, Any]

    @staticmethod
    def load(directory: Path, receivers: dict[str, str]) -> "OldDatabase":
        """Read what make.py wrote, with `receivers` (host and port) for its placeholders, 2 to 9 days old."""
        told = (directory / "told.json").read_text()
        data = (directory / "data.sql").read_text()
        for placeholder, address in receivers.items():
            data = data.replace(placeholder, address)
        made = max(datetime.fromisoformat(f"{found}+00:00") for found in _applied_at(data))
        weeks = (datetime.now(UTC) - _MIN_AGE - made) // _WEEK * _WEEK
        # what is sealed is bound to the id of its subscription
        kept = {one["id"] for one in json.loads(told)["subscriptions"].values()}
        move = _mover(weeks, kept)
        schema = gzip.decompress((directory / "schema.sql.gz").read_bytes()).decode()
        return OldDatabase(
            _UUID7.sub(_uuids(weeks, kept), _PARTITION.sub(_partitions(weeks), schema)),
            move(data),
            json.loads(_UUID7.sub(_uuids(weeks, kept), told)),
        )


def _applied_at(data: str) -> list[str]:
    """Return when the migrations were applied, with which the old database began."""
    rows = data.partition("INSERT INTO hookd.migration VALUES")[2].partition(";\n")[0]
    return _MOMENT.findall(rows)


def _mover(by: timedelta, kept: set[str]) -> Callable[[str], str]:
    def move(text: str) -> str:
        text = _PARTITION.sub(_partitions(by), text)
        text = _MOMENT.sub(lambda found: str(_moment(found[1], by)), text)
        return _UUID7.sub(_uuids(by, kept), text)

    return move


def _moment(text: str, by: timedelta) -> str:
    return (datetime.fromisoformat(text) + by).isoformat(text[10])


def _partitions(by: timedelta) -> Callable[[re.Match[str]], str]:
    def moved(found: re.Match[str]) -> str:
        day = datetime.strptime(found[2], "%Y%m%d").replace(tzinfo=UTC) + by
        return f"{found[1]}_{day:%Y%m%d}"

    return moved


def _uuids(by: timedelta, kept: set[str]) -> Callable[[re.Match[str]], str]:
    def moved(found: re.Match[str]) -> str:
        if found[0] in kept:
            return found[0]
        milliseconds = int(found[1] + found[2], 16) + by // timedelta(milliseconds=1)
        return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}{found[3]}"

    return moved
