"""The identifier that ties an answer, its log line and the client's own log together."""

from daemon.uuid7 import uuid7

HEADER = "X-Request-Id"
_MAX_LENGTH = 128


def request_id(offered: str | None) -> str:
    """Return the client's identifier if it is 1 to 128 visible ASCII characters, else a new UUIDv7.

    Anything else could forge lines or fields in the logs of whoever reads it.
    """
    if offered and len(offered) <= _MAX_LENGTH and all("!" <= character <= "~" for character in offered):
        return offered
    return str(uuid7())
