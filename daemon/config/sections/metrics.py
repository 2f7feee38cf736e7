"""`[metrics]`."""

from typing import Annotated

from daemon.config import checks
from daemon.config.kinds import Text
from daemon.config.sections.base import Section


class MetricsConfig(Section):
    """`[metrics]`."""

    bind: Annotated[str, Text(checks.optional_bind_address)] = ""
    """Address that /metrics is served on, and only there, in the form of api.bind; "": on the API's."""
