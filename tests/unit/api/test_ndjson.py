import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api import ndjson
from api.ndjson import Batch, LineBatches, LineTooLong

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30)
ENDS = st.sampled_from([b"\n", b"\r\n"])


def batches_of(pieces: list[bytes], longest: int) -> tuple[list[Batch], int | None]:
    """Return the batches, and the number of the line that was too long, if one was."""
    cutter, found = LineBatches(longest), []
    try:
        for index, piece in enumerate(pieces):
            for batch in cutter.feed(piece, last=index == len(pieces) - 1):
                found.append(batch)
    except LineTooLong as error:
        return found, error.number
    return found, None


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "BATCH_LINES", 4)
    monkeypatch.setattr(ndjson, "BATCH_BYTES", 20)


@given(LINES, ENDS, st.booleans(), st.integers(0, 12), st.data())
@example([b"", b"12345", b"\r", b"x"], b"\r\n", False, 5, None)
def test_any_pieces_give_the_same_batches(
    lines: list[bytes], end: bytes, ended: bool, longest: int, data: st.DataObject | None
) -> None:
    stream = end.join(lines) + (end if ended else b"")
    if data is None:
        cuts = list(range(len(stream)))
    else:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[begin:finish] for begin, finish in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, too_long = batches_of([stream], longest)
    assert batches_of(pieces, longest) == (whole, too_long)
    expected = [
        (number, line)
        for number, line in enumerate((raw.removesuffix(b"\r") for raw in stream.split(b"\n")), 1)
        if (too_long is None or number < too_long) and line.strip(b" \t\r")
    ]
    assert [item for batch in whole for item in batch] == expected
    assert all(len(line) <= longest for _, line in expected)
    for index, batch in enumerate(whole):
        size = sum(len(line) for _, line in batch)
        assert batch
        assert len(batch) <= 4
        assert size - len(batch[-1][1]) < 20
        if index < len(whole) - 1:
            assert len(batch) == 4 or size >= 20


def test_a_line_that_is_too_long_is_known_before_it_ends() -> None:
    cutter = LineBatches(10)
    given = cutter.feed(b"1\n2\n" + b"x" * 12, last=False)
    assert next(given) == [(1, b"1"), (2, b"2")]
    with pytest.raises(LineTooLong) as error:
        next(given)
    assert error.value.number == 3


def test_the_carriage_return_does_not_count() -> None:
    assert batches_of([b"1234567890\r\n"], 10) == ([[(1, b"1234567890")]], None)
    assert batches_of([b"12345678901\n"], 10) == ([], 1)


@pytest.mark.parametrize("stream", [b"", b"\n", b"\r\n \t \n", b"  "])
def test_blank_lines_are_none(stream: bytes) -> None:
    assert batches_of([stream], 10) == ([], None)


def test_only_the_batch_at_hand_is_held() -> None:
    cutter = LineBatches(10)
    for _ in range(1000):
        for batch in cutter.feed(b'"a"\n"b"\n"c"\n', last=False):
            assert len(batch) == 4
    assert len(cutter._batch) < 4
    assert not cutter._line
