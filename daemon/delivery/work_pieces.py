"""Long work in asyncio, cut into pieces between which others have the loop."""

import asyncio
import time

LONGEST_PIECE = 0.005
REST = 0.001
"""Seconds: of work after which there is a rest, and of the rest. In less than that, trio-asyncio would do
asyncio's next callbacks and nothing else."""


class WorkPieces:
    """Adds up the time of small pieces of work, and rests when that was enough."""

    def __init__(self) -> None:
        self._worked = 0.0

    async def end(self, began: float) -> None:
        """End a piece that began at this moment of `time.perf_counter`, and rest if there is need."""
        self._worked += time.perf_counter() - began
        if self._worked > LONGEST_PIECE:
            self._worked = 0.0
            await asyncio.sleep(REST)
