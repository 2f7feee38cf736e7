import io
import re
import shlex
from datetime import UTC, datetime

import pytest

from daemon.cli.dev_banner import show_examples, show_summary
from daemon.cli.sample import sample_data, sample_events
from daemon.cli.screen import Screen, Style, Verb, elapsed, short, wants_colour
from daemon.cli.tally import Counts, Missing
from daemon.config.model import EventsConfig
from daemon.model import uuid7

NOW = datetime(2026, 3, 10, 10, 0, 0, 7000, UTC)
TYPES = EventsConfig().types
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(verb: Verb, event_type: str, path: str, detail: str, *, colour: bool = False) -> str:
    out = io.StringIO()
    event_id = "01a209de-7999-7aa7-9144-5930d2e839f1"
    Screen(out, colour=colour).happened(verb, event_type, event_id, path, detail, now=NOW)
    return out.getvalue().removesuffix("\n")


def test_a_line_has_time_verb_type_id_path_and_detail() -> None:
    line = shown(Verb.DELIVERED, "match.proposed", "/inbox", "verified 8 ms")
    assert line == "10:00:00.007  delivered  match.proposed       …e839f1  /inbox  verified 8 ms"


@pytest.mark.parametrize("event_type", TYPES)
def test_columns_are_aligned_and_80_columns_are_enough(event_type: str) -> None:
    lines = [shown(verb, event_type, "/inbox", "503, retry in ~1s") for verb in Verb]
    assert {line.index("…e839f1") for line in lines} == {46}
    assert {line.index("/inbox") for line in lines} == {55}
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("verb", list(Verb))
def test_colour_changes_nothing_but_colour(verb: Verb) -> None:
    plain = shown(verb, "match.proposed", "/inbox", "x")
    coloured = shown(verb, "match.proposed", "/inbox", "x", colour=True)
    assert "\x1b[" not in plain
    assert coloured != plain
    assert ESCAPE.sub("", coloured) == plain
    assert coloured.count("\x1b[0m") * 2 == len(ESCAPE.findall(coloured))


def test_without_path_and_detail_no_blanks_are_left_at_the_end() -> None:
    assert not shown(Verb.PUBLISHED, "match.proposed", "", "").endswith(" ")


@pytest.mark.parametrize(
    ("choice", "environ", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {}, True, False),
    ],
)
def test_colour_is_for_terminals_unless_told_otherwise(
    choice: str, environ: dict[str, str], terminal: bool, expected: bool
) -> None:
    assert wants_colour(choice, Terminal() if terminal else io.StringIO(), environ) is expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0084, "8 ms"), (0, "0 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"), (3.049, "3.05 s")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_no_id_has_no_short_form() -> None:
    assert short("") == ""


def test_the_lines_to_copy_are_each_one_line_and_quoted_for_a_shell() -> None:
    out = io.StringIO()
    show_examples(
        Screen(out, colour=False),
        url="http://127.0.0.1:8080",
        subscription="018f",
        token="a.b.c",
        database_url="postgresql://hookd@/postgres?host=%2Fvar%2Fx y",
        org=uuid7(),
        event_type="match.proposed",
    )
    lines = out.getvalue().splitlines()
    curl, test = (line for line in lines if line.startswith("  curl "))
    assert "-H 'Authorization: Bearer a.b.c'" in curl
    assert shlex.split(test) == [
        *("curl", "http://127.0.0.1:8080/webhooks/018f/test", "-H", "Content-Type: application/json"),
        *("-d", '{"conformance": true}', "-H", "Authorization: Bearer a.b.c"),
    ]
    assert """-d '{"type": "match.proposed", "data": {"by": "curl"}}'""" in curl
    [psql] = [line for line in lines if "psql" in line and " -c " in line]
    assert "'postgresql://hookd@/postgres?host=%2Fvar%2Fx y'" in psql
    assert "'match.proposed', jsonb_build_object('by', 'psql'))\"" in psql


def test_the_summary_names_what_is_missing_and_why() -> None:
    out = io.StringIO()
    missing = [Missing(f"id-{n}", "match.proposed", "/flaky", "answered 503") for n in range(12)]
    counts = Counts(published=20, verified=9, delivered=8, failed=3, recovered=1, refused=1)
    show_summary(Screen(out, colour=False), counts, missing, 61.23)
    text = out.getvalue()
    assert "published  20 events in 61.2 s" in text
    assert "delivered  8 of 20" in text
    assert "verified   9 of 10 requests" in text
    assert "not delivered: match.proposed id-9 to /flaky: answered 503" in text
    assert "id-10" not in text
    assert "and 2 more" in text


def test_the_sample_has_each_type_in_turn_with_data_of_its_own() -> None:
    sample = sample_events(TYPES)
    first = [next(sample) for _ in TYPES]
    second = [next(sample) for _ in TYPES]
    assert [event_type for event_type, _ in first] == [event_type for event_type, _ in second] == list(TYPES)
    assert len({frozenset(data) for _, data in first}) == len(TYPES)
    assert first[0][1]["candidate"]["name"] != second[0][1]["candidate"]["name"]
    assert sample_data("other.type", 3) == {"note": "a sample of other.type", "number": 3}


def test_styles_of_verbs_are_complete() -> None:
    assert Screen(io.StringIO(), colour=True).styled("x", Style.PLAIN) == "x"
    for verb in Verb:
        assert shown(verb, "a.b", "", "", colour=True).startswith("\x1b[2m10:00:00.007\x1b[0m  \x1b[")
