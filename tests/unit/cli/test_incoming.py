import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from daemon.cli.incoming import Refused, event_of_line, event_of_options
from daemon.config.sections.events import EventsConfig
from daemon.signing.canonical import event_body
from daemon.uuid7 import uuid7
from tests.support.api_harness import ORG, TYPES, World, bearer

RULES = EventsConfig(types=TYPES, max_bytes=2000, max_depth=5)
TYPE = TYPES[0]


def line(**fields: object) -> bytes:
    return json.dumps({"type": TYPE, "data": {}, **fields}).encode()


def test_a_line_becomes_an_event_with_its_canonical_body() -> None:
    event = event_of_line(
        b'{"data": {"b": 1e2, "a": "\xc3\xa9"}, "type": "placement.created"}', ORG, RULES, uuid7
    )
    assert (event.org_id, event.type, event.key, event.deliver_after) == (ORG, TYPE, None, None)
    assert event.body == event_body(event.id, TYPE, {"a": "é", "b": 100.0})


def test_key_and_time_are_kept() -> None:
    event = event_of_line(line(key="k", deliver_after="2026-03-10T12:00:00+02:00"), ORG, RULES, uuid7)
    assert event.key == "k"
    assert event.deliver_after == datetime(2026, 3, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[1]", "not an event: write"),
        (b'{"type": "placement.created"}', "data: is missing"),
        (b'{"data": 1}', "type: is missing"),
        (line(type=7), "type: must be a string"),
        (line(type="placement.creatd"), 'perhaps "placement.created" is meant'),
        (line(type="zzz"), "known are placement.created, placement.updated"),
        (line(dta=1), "dta: not a known field"),
        (line(org_id=str(ORG)), "--org says for whom"),
        (line(key=""), "key: must be a string of 1 to 256"),
        (line(key="k" * 257), "key: must be a string of 1 to 256"),
        (line(deliver_after="tomorrow"), "deliver_after: must be an RFC 3339 time"),
        (line(deliver_after="2026-02-30T00:00:00Z"), "deliver_after: must be an RFC 3339 time"),
        (line(data="x" * 2000), "bytes; the most is 2000"),
        (line(data=[[[[[[]]]]]]), "nested deeper than"),
        (line(data="\0"), r"NUL character \(\\u0000\) at"),
        (b'{"type": "placement.created", "data": 1e999}', 'beyond the range of a double at "/data"'),
        (b'{"type": "placement.created", "data": NaN}', "NaN, which JSON does not have"),
        (b'{"type": "placement.created", "data": "\xff"}', "not UTF-8 at byte 40"),
        (b'{"type": "placement.created"', "not JSON: .* at column 29"),
    ],
)
def test_what_cannot_be_published_is_refused_with_a_remedy(text: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        event_of_line(text, ORG, RULES, uuid7)


def test_options_make_the_same_event_and_name_themselves_when_wrong() -> None:
    assert event_of_options(TYPE, '{"n": 1}', ORG, RULES, uuid7).body.startswith('{"data":{"n":1},"id":"')
    with pytest.raises(Refused, match="--data: not JSON"):
        event_of_options(TYPE, "{n: 1}", ORG, RULES, uuid7)
    with pytest.raises(Refused, match="--data: nested deeper than 5 levels"):
        event_of_options(TYPE, "[[[[[[]]]]]]", ORG, RULES, uuid7)
    event_of_options(TYPE, "[[[[[]]]]]", ORG, RULES, uuid7)


GOOD: list[object] = [None, 0, "", [], {"a": [1.5, "\ud83d\ude00"]}, "x" * 1800, [[[[[]]]]]]
LINES = [
    *(line(data=value) for value in GOOD),
    *(line(key=key) for key in (None, "", "k", "k" * 256, "k" * 257, 7)),
    *(line(deliver_after=at) for at in (None, "2026-03-10T10:00:00Z", "2026-03-10T10:00:00.5+01:00")),
    *(line(deliver_after=at) for at in ("2026-03-10", "2026-03-10T10:00:00", "0001-01-01T00:00:00+23:00", 1)),
    *(line(type=name) for name in (*TYPES, "nope", "", None, 1)),
    *(line(data=value) for value in ("x" * 2000, "\0", "\ud800", {"\0": 1})),
    b'{"type": "placement.created", "data": 1e309}',
    b'{"type": "placement.created", "data": Infinity}',
    b'{"type": "placement.created", "data": 1' + b"0" * 1500 + b"}",
    b'{"type": "placement.created", "data": 1, "more": 2}',
    b'{"type": "placement.created", "data": 1, "type": "placement.updated"}',
    b'{"data": 1}',
    b'{"type": "placement.created"}',
    b'{"type": "placement.created", "data": "\xff"}',
    b"{}",
    b"7",
]


@pytest.mark.parametrize("text", LINES, ids=lambda text: text[:60].decode(errors="replace"))
async def test_the_same_events_are_good_here_and_through_the_rest_api(text: bytes) -> None:
    world = World()
    world.settings = type(world.settings)(TYPES, max_event=2000, max_depth=5)
    # As an array: there the API's limit of depth is that of the data.
    headers = {**bearer("publisher"), "Content-Type": "application/json"}
    response = await world.app().test_client().post("/events", data=b"[" + text + b"]", headers=headers)
    try:
        event = event_of_line(text, ORG, RULES, uuid7)
    except Refused:
        assert response.status_code in (400, 422)
    else:
        assert response.status_code == 202
        [published] = world.events.published
        ours, theirs = json.loads(event.body), json.loads(published.body)
        assert {**ours, "id": "", "timestamp": ""} == {**theirs, "id": "", "timestamp": ""}
        assert (event.type, event.key, event.deliver_after, event.org_id) == (
            published.type,
            published.key,
            published.deliver_after,
            UUID(str(published.org_id)),
        )
