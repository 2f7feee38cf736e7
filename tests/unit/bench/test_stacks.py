from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.chart import Bar, bars, chart, draw, notes_of
from bench.report import CannotRun
from bench.stacks import exclusive, flame_graph, inclusive, parse, part_of, parts

FOLDED = """\
main:run;daemon.delivery.sender:send;daemon.egress.socket_stream:send 30
main:run;daemon.delivery.sender:send;hmac:digest 20
main:run;trio._core._run:run;trio._core._io_epoll:wait 40
main:run;other:f;main:run 10
"""


def test_folded_lines_are_read() -> None:
    assert parse("a:b;c:d e 3\n") == [(("a:b", "c:d e"), 3)]


def test_each_stack_belongs_to_its_innermost_known_part() -> None:
    assert part_of(("daemon.store.queue:claim", "asyncpg.pool:fetch", "asyncpg.protocol:bind")) == "asyncpg"
    assert part_of(("daemon.signing.standard:sign", "hmac:digest")) == "sign"
    assert part_of(("daemon.signingx:f",)) == "the rest of hookd"
    assert part_of(("abc:f",)) == "other libraries"


def test_parts_add_up_to_all() -> None:
    found = dict(parts(parse(FOLDED)))
    assert sum(found.values()) == pytest.approx(1)
    assert found["Trio: scheduler and checkpoints"] == pytest.approx(0.4)
    assert found["sockets: send, receive, wait"] == pytest.approx(0.3)
    assert found["sender: judge, result"] == pytest.approx(0.2)


def test_a_function_that_calls_itself_is_counted_once() -> None:
    assert dict(inclusive(parse(FOLDED)))["main:run"] == pytest.approx(1)


def test_alone_counts_the_innermost_function() -> None:
    name, share = exclusive(parse(FOLDED))[0]
    assert name == "trio._core._io_epoll:wait"
    assert share == pytest.approx(0.4)


def test_a_flame_graph_has_a_box_as_wide_as_its_share() -> None:
    svg = ElementTree.fromstring(flame_graph(parse(FOLDED), "a < b"))  # noqa: S314  (made here)
    widths = {
        box.findtext("{*}title"): float(box.find("{*}rect").attrib["width"])  # type: ignore[union-attr]
        for box in svg.iterfind("{*}g")
    }
    assert widths["daemon.delivery.sender:send: 50.0%"] == pytest.approx(599.5)
    assert widths["hmac:digest: 20.0%"] == pytest.approx(239.5)


def document(**subjects: float) -> dict[str, Any]:
    return {
        "subjects": {name: {"median": {"rate_per_s": rate}} for name, rate in subjects.items()},
        "machine": {"cores": 2, "processor": "P & Q"},
        "versions": {"postgres": "18", "python": "3.11", "receiver": "nginx"},
        "parameters": {"size": 1000, "bytes": 450, "hosts": 100, "runs": 5},
    }


def test_the_chart_shows_what_was_measured_and_nothing_else() -> None:
    found = document(hookd=5000.0, floor=20000.0)
    assert bars(found) == [
        Bar("floor: httptools on Trio, no database", 20000, False),
        Bar("hookd", 5000, True),
    ]
    svg = ElementTree.fromstring(chart(bars(found), "T", notes_of(found)))  # noqa: S314  (made here)
    widths = [float(rect.attrib["width"]) for rect in svg.iterfind("{*}rect")]
    assert widths[0] == pytest.approx(4 * widths[1])
    assert "P & Q" in "".join(svg.itertext())


def test_without_results_there_is_no_chart(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="bench drain"):
        draw(tmp_path)
