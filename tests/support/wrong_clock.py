"""hookd on a machine whose clock is wrong: `python -m tests.support.wrong_clock SECONDS run …`.

All that asks for the date or time is told another one, from before anything of hookd is loaded. What counts
seconds evenly (Trio's clock, timeouts) is right, as it is on such a machine.
"""

import datetime
import sys
import time
from typing import Any

_right_time, _right_time_ns = time.time, time.time_ns


def be_wrong(seconds: float) -> None:
    """Have this process's clock be so many seconds ahead, or behind if that is below 0."""

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(_right_time() + seconds, tz)

    time.time = lambda: _right_time() + seconds
    time.time_ns = lambda: _right_time_ns() + int(seconds * 1e9)
    datetime.datetime = Datetime  # type: ignore[misc]


if __name__ == "__main__":
    be_wrong(float(sys.argv.pop(1)))
    from daemon.cli.main import main

    main()
