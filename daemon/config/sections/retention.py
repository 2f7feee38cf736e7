"""`[retention]`: how long things are kept."""

from typing import Annotated

from daemon.config.kinds import Duration
from daemon.config.sections.base import DAY, Section


class RetentionConfig(Section):
    """`[retention]`: how long things are kept."""

    events: Annotated[float, Duration("1s", "3650d")] = 30 * DAY
    """Seconds that an event is kept; what is still pending of it then is given up."""
    attempts: Annotated[float, Duration("1s", "3650d")] = 30 * DAY
    """Seconds that the history of attempts is kept."""
