"""The address of an HTTP proxy as it is written in the configuration."""

import re

_FORM = re.compile(
    r"http://(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)):([1-9][0-9]{0,4})/?", re.ASCII
)


def parse_proxy(text: str) -> tuple[str, int]:
    """Return host and port of "http://HOST:PORT"; raise ValueError with the end of a sentence."""
    match = _FORM.fullmatch(text.lower())
    if match is not None and int(match[3]) < 65536:
        return match[1] or match[2], int(match[3])
    if "@" in text:
        raise ValueError("has credentials in it: put user:password into egress.proxy_credentials_file")
    if text.lower().startswith("https://"):
        raise ValueError("would speak TLS to the proxy, which hookd does not: name its http:// port")
    raise ValueError('is not a proxy such as "http://proxy.example.com:3128"')


def check_proxy(text: str) -> str:
    """Return the text; "" is allowed."""
    if text:
        parse_proxy(text)
    return text
