"""Which settings hold secrets, and how they look when they are shown."""

import re
from typing import Any

# Up to the last "@": a password with "/" or "@" in it, which is not percent-encoded, must not show either.
_PASSWORD = re.compile(r"(?<=://)([^:@]*):(.*)@", re.DOTALL)
_PASSWORD_PARAMETER = re.compile(r"(?i)([?&](?:ssl)?password=)[^&#]*")
_USER = re.compile(r"(?<=://).*@", re.DOTALL)
_MASK = "***"


def masked(path: tuple[str | int, ...], value: Any) -> Any:
    """Return `value` of the setting at `path` as it may be shown: without a password."""
    if path == ("database",) and not isinstance(value, dict):
        return _MASK
    if path == ("egress", "proxy") and isinstance(value, str):
        return _USER.sub(f"{_MASK}@", value)
    if path != ("database", "url") or value == "":
        return value
    return mask_url(value) if isinstance(value, str) else _MASK


def mask_url(url: str) -> str:
    """Return a database URL without its password; all of it is masked if it is no such URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        return _MASK
    return _PASSWORD_PARAMETER.sub(rf"\1{_MASK}", _PASSWORD.sub(rf"\1:{_MASK}@", url))
