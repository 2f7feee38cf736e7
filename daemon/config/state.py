"""The state directory: where secrets made on first start and the embedded server live."""

import os
from collections.abc import Mapping
from pathlib import Path

from daemon.explained_error import ExplainedError


class StateError(ExplainedError):
    """The state directory cannot be used; the text says why and what to do."""


def state_directory(
    configured: str, *, environ: Mapping[str, str] = os.environ, user_id: int | None = None
) -> Path:
    """Return the absolute path of the state directory, whether or not it exists.

    `configured` is `state.directory`; when empty, systemd's $STATE_DIRECTORY, else /var/lib/hookd for root,
    else ~/.local/state/hookd. Raises StateError for a user without a home.
    """
    if configured:
        try:
            return Path(configured).absolute()
        except OSError as error:
            raise StateError(
                f"{configured}: begins in the working directory, which cannot be told ({error.strerror}):"
                " set state.directory to an absolute path"
            ) from None
    # systemd.exec(5): several StateDirectory= entries are separated by colons.
    first = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if first:
        return Path(first).absolute()
    if (os.geteuid() if user_id is None else user_id) == 0:
        return Path("/var/lib/hookd")
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise StateError("this user has no home directory for hookd's state: set state.directory")
    return Path(home, ".local/state/hookd")


def make_state_directory(directory: Path) -> Path:
    """Make `directory` (mode 0700) where it is missing, see that it can be written to, and return it.

    Raises StateError.
    """
    remedy = "set state.directory to a directory that this user may write to"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise StateError(f"{directory}: is not a directory: {remedy}") from None
    except OSError as error:
        raise StateError(f"{directory}: cannot be made ({error.strerror}): {remedy}") from None
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise StateError(f"{directory}: cannot be written to: {remedy}")
    return directory
