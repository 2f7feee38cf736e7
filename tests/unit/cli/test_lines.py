import os
import threading
from pathlib import Path

import trio
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.lines import CHUNK, Lines


async def read_all(descriptor: int, most: int = 1000) -> list[tuple[int, bytes]]:
    lines = Lines(descriptor, most=most)
    found: list[tuple[int, bytes]] = []
    while some := await lines.some():
        found += some
    return found


@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"\n")), max_size=10))
def test_however_it_is_cut_a_pipe_gives_its_lines_with_their_numbers(pieces: list[bytes]) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(writing, piece)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = trio.run(read_all, reading)
    finally:
        writer.join()
        os.close(reading)
    every = enumerate(b"".join(pieces).split(b"\n"), start=1)
    assert found == [(number, line) for number, line in every if line.strip()]


async def test_what_is_there_comes_without_waiting_for_more() -> None:
    reading, writing = os.pipe()
    lines = Lines(reading, most=100)
    os.write(writing, b"one\ntwo\nthr")
    with trio.fail_after(30):
        assert await lines.some() == [(1, b"one"), (2, b"two")]
    os.write(writing, b"ee\n")
    with trio.fail_after(30):
        assert await lines.some() == [(3, b"three")]
    os.close(writing)
    assert await lines.some() == []
    os.close(reading)


async def test_a_line_without_end_is_not_kept_whole(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"good\n" + b"x" * (CHUNK * 20) + b"\nnever reached\n")
    descriptor = os.open(file, os.O_RDONLY)
    found = await read_all(descriptor, most=1000)
    os.close(descriptor)
    assert [number for number, _ in found] == [1, 2]
    assert found[0][1] == b"good"
    assert 1000 < len(found[1][1]) <= 1000 + CHUNK
