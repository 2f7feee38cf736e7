"""Files that come with hookd for operators: links into the source tree, copies in an installed package."""

from pathlib import Path

_PLACE = Path(__file__).parents[1] / "shipped"

CONFIG = "config.toml"
UNITS = ("hookd.service", "hookd.socket", "hookd.sysusers.conf")


def shipped(name: str) -> str:
    """Return the text of the file `name`, one of those above."""
    return (_PLACE / name).read_text(encoding="utf-8")
