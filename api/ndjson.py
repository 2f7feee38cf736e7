"""Newline-delimited JSON: a stream of bytes cut into batches of lines, whatever pieces it comes in. Pure."""

from collections.abc import Iterator

MEDIA_TYPES = ("application/x-ndjson", "application/jsonl")

BATCH_LINES = 500
BATCH_BYTES = 1024 * 1024
_BLANKS = b" \t\r"

Batch = list[tuple[int, bytes]]
"""Lines with their numbers, from 1; without line ends, and without lines that are blank."""


class LineTooLong(Exception):
    """A line is longer than allowed; its number is `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is too long")
        self.number = number


class LineBatches:
    """Cuts a stream into batches of lines of at most `longest` bytes, holding no more than one batch.

    A batch ends after 500 lines or with the line that brings it to a MiB. That depends on nothing but the
    stream, so that one that is sent again has the same batches.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._number = 0
        self._line = bytearray()
        self._batch: Batch = []
        self._size = 0

    @property
    def held(self) -> int:
        """How many bytes wait for the end of their line or batch."""
        return len(self._line) + self._size

    def feed(self, piece: bytes, *, last: bool) -> Iterator[Batch]:
        """Yield the batches that `piece` completes; the `last` piece completes all.

        Raises `LineTooLong`, after the lines before that one have been yielded.
        """
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        self._line += rest
        # Beyond one byte more, which may yet prove to be half of a line end, no line has to be awaited.
        if len(self._line) > self._longest + 1 or (last and self._line):
            lines.append(bytes(self._line))
            self._line.clear()
        for whole in lines:
            self._number += 1
            line = whole.removesuffix(b"\r")
            if len(line) > self._longest:
                if self._batch:
                    yield self._taken()
                raise LineTooLong(self._number)
            if line.strip(_BLANKS):
                self._batch.append((self._number, line))
                self._size += len(line)
                if len(self._batch) >= BATCH_LINES or self._size >= BATCH_BYTES:
                    yield self._taken()
        if last and self._batch:
            yield self._taken()

    def _taken(self) -> Batch:
        batch, self._batch, self._size = self._batch, [], 0
        return batch
