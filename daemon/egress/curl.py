"""Requests in words that people can use: as curl would have to be called to send the same bytes. Pure."""

import shlex
from collections.abc import Sequence

from daemon.egress.connection import encode_request
from daemon.egress.report import Sent
from daemon.egress.url import Url

# Taken from the URL and the body by curl itself.
_FROM_CURL = frozenset({"host", "content-length"})
# Added by curl on its own, unless told not to.
_UNASKED = ("Accept", "Expect")


def sent(method: str, url: Url, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Sent:
    """Return the request as `encode_request` puts it on the wire; raises as that does.

    A body that is not UTF-8 has no curl line that sends it: its wrong bytes are replaced.
    """
    head, _, _ = encode_request(method, url, headers, body).partition(b"\r\n\r\n")
    fields = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    shown = [(name.decode("ascii"), value.decode("latin-1")) for name, _, value in fields]
    address = f"{url.scheme}://{url.authority.decode('ascii')}{url.target.decode('ascii')}"
    text = body.decode("utf-8", "replace")
    return Sent(method, address, tuple(shown), text, shlex.join(curl_arguments(method, address, shown, text)))


def curl_arguments(method: str, url: str, headers: Sequence[tuple[str, str]], body: str) -> list[str]:
    """Return the command, `curl` first, that sends just these `headers` and this `body` to `url`.

    It shows the answer with its headers. The URL is taken as it stands: curl would otherwise expand brackets
    and shorten the path, and speak HTTP/2, which has no spelling of header names.
    """
    arguments = ["curl", "-sSi", "--http1.1", "--globoff", "--path-as-is", "-X", method, url]
    given = {name.lower() for name, _ in headers}
    for name, value in headers:
        if name.lower() not in _FROM_CURL:
            # To curl, a name with a colon and nothing after it means: without this header.
            arguments += ["-H", f"{name}: {value}" if value.strip() else f"{name};"]
    for name in _UNASKED:
        if name.lower() not in given:
            arguments += ["-H", f"{name}:"]
    # Not --data, to which a body that begins with @ names a file.
    return [*arguments, "--data-raw", body]
