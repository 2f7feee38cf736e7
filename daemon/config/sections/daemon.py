"""`[daemon]`: the process."""

from typing import Annotated

from daemon.config.kinds import Duration, Whole
from daemon.config.sections.base import Section


class DaemonConfig(Section):
    """`[daemon]`: the process."""

    stop_timeout: Annotated[float, Duration("100ms", "1h")] = 25.0
    """Seconds that a stop may take in all; systemd's TimeoutStopSec must be longer."""
    processes: Annotated[int, Whole(1, 64)] = 1
    """Daemons that `hookd run` runs behind one address; what holds for one daemon holds for each of them."""
