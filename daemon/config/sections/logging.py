"""`[logging]`."""

from typing import Annotated, Literal

from daemon.config.kinds import Choice, Switch
from daemon.config.sections.base import Section

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "human", "json"]


class LoggingConfig(Section):
    """`[logging]`."""

    level: Annotated[LogLevel, Choice("debug", "info", "warning", "error")] = "info"
    """The least important messages that are logged."""
    format: Annotated[LogFormat, Choice("auto", "human", "json")] = "auto"
    """"human" or "json" lines; "auto": human on a terminal."""
    access: Annotated[bool, Switch()] = True
    """Whether each API request has a line; otherwise only those that fail have one."""
