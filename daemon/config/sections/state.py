"""`[state]`."""

from daemon.config.sections.base import PathText, Section


class StateConfig(Section):
    """`[state]`."""

    directory: PathText = ""
    """Directory for secrets and the embedded server; "": systemd's, else /var/lib/hookd as root, else
    ~/.local/state/hookd."""
