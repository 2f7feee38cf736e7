"""Lines that repeat are folded: nothing is lost, little is written, and little is kept in memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daemon.process.folding import Folding

OTHERS = "others"

LINES = st.lists(
    st.tuples(st.floats(0, 50), st.sampled_from(["a", "b", "c", "d", "e"])), min_size=1, max_size=200
)


@given(LINES, st.integers(1, 3), st.integers(1, 4))
def test_every_line_is_written_or_counted_once(lines: list[tuple[float, str]], first: int, most: int) -> None:
    folding = Folding(OTHERS, window=60, first=first, most=most)
    written: Counter[str] = Counter()
    shown: dict[str, list[float]] = {}
    now = 0.0
    for pause, kind in lines:
        now += pause
        for told, count in folding.due(now):
            written[told] += count
            shown.setdefault(told, []).append(now)
        if folding.is_written(kind, now):
            written[kind] += 1
            shown.setdefault(kind, []).append(now)
        assert len(folding._kinds) <= most + 1
    for told, count in folding.rest():
        written[told] += count
    assert written.total() == len(lines)
    asked = Counter(kind for _, kind in lines)
    assert all(written[kind] <= asked[kind] for kind in asked)
    assert written[OTHERS] == 0 or most < len(asked)
    for times in shown.values():
        # However the windows lie, so many lines in a row take as long as one.
        row = zip(times, times[2 * first + 1 :], strict=False)
        assert all(later - earlier >= 60 for earlier, later in row)


def test_ten_thousand_in_a_minute_are_a_few_lines() -> None:
    folding = Folding(OTHERS, window=60, first=1)
    told = []
    for number in range(20_000):
        now = number * 0.006
        told += [f"{count} more" for _, count in folding.due(now)]
        if folding.is_written("refused", now):
            told.append("line")
    assert told == ["line", "9999 more"]
    assert folding.rest() == [("refused", 10_000)]


def test_a_kind_begins_anew_after_a_quiet_minute() -> None:
    folding = Folding(OTHERS, window=60, first=1)
    assert folding.is_written("a", 0)
    assert not folding.is_written("a", 59)
    assert folding.due(60) == [("a", 1)]
    assert not folding.is_written("a", 119)
    assert folding.due(120) == [("a", 1)]
    assert folding.due(180) == []
    assert folding.is_written("a", 180)


def test_what_there_is_no_room_for_is_counted_together() -> None:
    folding = Folding(OTHERS, window=60, first=1, most=2)
    assert [folding.is_written(kind, 0) for kind in ("a", "b", "c", "d", "a")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert folding.due(60) == [("a", 1), (OTHERS, 2)]
