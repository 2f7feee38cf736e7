"""What makes a configuration unusable."""

from collections.abc import Sequence

from daemon.explained_error import ExplainedError


class ConfigError(ExplainedError):
    """The configuration cannot be used; `problems` has one line for each thing to put right."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)
