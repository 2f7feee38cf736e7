"""The daemon as shipped, with a look at its stack after every two milliseconds of processor time.

    python -m bench.sampled STACKS_FILE run --set …

Writes the stacks, folded ("outer;inner;innermost count" a line), when the daemon has ended. What C code
spends counts for the Python function that called it.
"""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from daemon.cli.main import main

PERIOD = 0.002
DEEPEST = 60


def name_of(frame: FrameType) -> str:
    """Return a frame's module and function."""
    module = frame.f_globals.get("__name__", "?")
    return f"{module}:{frame.f_code.co_qualname}"


def watch(stacks: Counter[tuple[object, ...]], names: dict[object, str]) -> None:
    """Count the stack at every signal of the timer."""

    def look(_: int, frame: FrameType | None) -> None:
        codes: list[object] = []
        while frame is not None and len(codes) < DEEPEST:
            code = frame.f_code
            if code not in names:
                names[code] = name_of(frame)
            codes.append(code)
            frame = frame.f_back
        stacks[tuple(codes)] += 1

    signal.signal(signal.SIGPROF, look)
    # A system call that the signal interrupts goes on, as for the kernel, too.
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)


def folded(stacks: Counter[tuple[object, ...]], names: dict[object, str]) -> str:
    """Return the stacks as lines, outermost function first."""
    lines: Counter[str] = Counter()
    for codes, count in stacks.items():
        lines[";".join(names[code] for code in reversed(codes))] += count
    return "".join(f"{line} {count}\n" for line, count in sorted(lines.items()))


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    seen: Counter[tuple[object, ...]] = Counter()
    known: dict[object, str] = {}
    watch(seen, known)
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        target.write_text(folded(seen, known))
