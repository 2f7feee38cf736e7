import io
import re
from datetime import UTC, datetime

import pytest

from daemon.cli.screen import Screen, Style, Verb, elapsed, short, wants_colour
from daemon.config.sections.events import EventsConfig

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


def test_styles_of_verbs_are_complete() -> None:
    assert Screen(io.StringIO(), colour=True).styled("x", Style.PLAIN) == "x"
    for verb in Verb:
        assert shown(verb, "a.b", "", "", colour=True).startswith("\x1b[2m10:00:00.007\x1b[0m  \x1b[")
