"""The state directory of a start or a command."""

from pathlib import Path

from daemon.config.model import Config
from daemon.config.state import StateError, make_state_directory, state_directory
from daemon.explained_error import ExplainedError


class StartError(ExplainedError):
    """The daemon cannot start; the text names the fault and says what to do."""


def prepare_state(config: Config) -> Path:
    """Return the state directory, made if it was missing. Error: `StartError`."""
    try:
        return make_state_directory(state_directory(config.state.directory))
    except StateError as error:
        raise StartError(str(error)) from error
