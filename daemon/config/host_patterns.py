"""Patterns for receivers' hosts: "api.example.com", "*.example.com", either with ":port"."""

import re
from ipaddress import AddressValueError, IPv6Address

import idna

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*", re.ASCII)
_FORM = 'write "api.example.com", "*.example.com" (any name below it) or either with ":PORT"'


def check_pattern(pattern: str) -> str:
    """Return `pattern` in the form that `matches` takes; raises ValueError with a remedy."""
    lowered = pattern.lower()
    host, port = _split(lowered)
    if host.startswith("[") and host.endswith("]"):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            raise ValueError('has no IPv6 address between its brackets: write "[2001:db8::1]:443"') from None
    elif not host.isascii():
        raise ValueError(f'is not ASCII: write "{_to_ascii(host)}"')
    elif len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError(f"is not a host pattern: {_FORM}")
    if port is None:
        return host
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"has no port from 1 to 65535 after its colon: {_FORM}")
    return f"{host}:{int(port)}"


def matches(pattern: str, host_key: str) -> bool:
    """Tell whether a pattern from `check_pattern` covers a host, with whatever scheme.

    A host is "https://example.com:443", IPv6 in brackets.
    """
    wanted, wanted_port = _split(pattern)
    host, port = _split(host_key.lower().rpartition("://")[2])
    if wanted_port is not None and wanted_port != port:
        return False
    if wanted.startswith("*."):
        return host.endswith(wanted[1:]) and host != wanted[1:]
    return host == wanted


def _split(text: str) -> tuple[str, str | None]:
    """Return host and port (None if there is none). An IPv6 address stands in brackets."""
    if ":" not in text or text.endswith("]"):
        return text, None
    host, _, port = text.rpartition(":")
    return host, port


def _to_ascii(host: str) -> str:
    """Return the form in which an international name is looked up and compared (IDNA 2008, RFC 5891)."""
    wildcard = "*." if host.startswith("*.") else ""
    try:
        return wildcard + idna.encode(host.removeprefix(wildcard), uts46=True).decode()
    except idna.IDNAError:
        return wildcard + "xn--…"
