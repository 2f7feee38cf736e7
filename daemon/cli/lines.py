"""Lines of a file or pipe as they come, in bounded memory."""

import os

import trio

CHUNK = 256 * 1024


class Lines:
    """The lines of a file descriptor, `most` bytes of one at a time."""

    def __init__(self, descriptor: int, *, most: int) -> None:
        self._descriptor = descriptor
        self._most = most
        self._rest = bytearray()
        self._number = 0
        self._ended = False

    async def some(self) -> list[tuple[int, bytes]]:
        """Return the next lines with their numbers, from 1: those that are there without waiting for more.

        Blank lines are left out. A line of more than `most` bytes is the last one and may not be whole. An
        empty list is the end.
        """
        while not self._ended:
            complete = self._complete()
            if complete:
                return complete
            if len(self._rest) > self._most:
                self._ended = True
                break
            # A pipe may stay silent for as long as it likes; Ctrl-C must not wait for it.
            chunk = await trio.to_thread.run_sync(os.read, self._descriptor, CHUNK, abandon_on_cancel=True)
            self._rest += chunk
            self._ended = not chunk
        self._rest += b"\n"
        return self._complete()

    def _complete(self) -> list[tuple[int, bytes]]:
        end = self._rest.rfind(b"\n")
        if end < 0:
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[: end + 1]
        first = self._number + 1
        self._number += len(lines)
        return [(number, line) for number, line in enumerate(lines, start=first) if line.strip()]
