"""Secrets that stand in the configuration itself, where others can read them.

The only setting that can hold one is `database.url`; every other secret is in a file of its own.
"""

import stat

from daemon.config.load import Loaded
from daemon.config.masking import mask_url

_OTHERS = 0o007


def exposed(loaded: Loaded) -> list[str]:
    """Return a line for each secret that others can see, with what to do about it."""
    url, origin = loaded.config.database.url, loaded.origins["database.url"]
    if not url or mask_url(url) == url:
        return []
    remedy = "put the password into a file of its own, named by database.password_file"
    if origin == "--set":
        return [f"the password in database.url shows in the list of processes, as --set holds it: {remedy}"]
    path = loaded.path
    if path is None or not origin.startswith(f"{path} "):
        return []
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _OTHERS:
        return []
    shown = f"{origin}: database.url holds a password, and every user may read this file (mode {mode:04o})"
    return [f"{shown}: chmod {mode & ~_OTHERS:o} {path}, or {remedy}"]
