"""Strict parsing of the URLs that requests are sent to.

Only one spelling of a host is accepted, so that the host that is checked, resolved, counted and sent to is
the same one for every part of the system, and for every reader of the URL.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

import idna

MAX_URL = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")
_TARGET_UNSAFE = re.compile(r'[^\x21-\x7e]|["<>]')
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


class UrlRefused(ValueError):
    """A URL that nothing may be sent to.

    `rule` names what was wrong with it, `code` is the failure code that goes with it ("url_invalid",
    "scheme_forbidden" or "port_forbidden") and `detail` says what to do; the text quotes no part of the URL.
    """

    def __init__(self, rule: str, detail: str, *, code: str = "url_invalid") -> None:
        self.rule = rule
        self.code = code
        self.detail = detail
        super().__init__(detail)


class Origin(NamedTuple):
    """What a connection may be reused for (RFC 9110 section 4.3.1)."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that passed `parse_url`.

    `host` is lower-case ASCII without a trailing dot, or an IP address without brackets. `target` is path
    and query as they go into the request line. `host_key` is the origin as text, always with its port:
    "https://example.com:443". Limits and circuits are kept by it. `authority` is the Host header's value (RFC
    9110 section 7.2).
    """

    scheme: str
    host: str
    port: int
    target: bytes
    host_key: str
    authority: bytes
    origin: Origin


def parse_url(url: str, *, https_only: bool = True) -> Url:
    """Return the parts of `url`; raise UrlRefused if it is malformed or ambiguous.

    With `https_only` the scheme must be https, else http will do too. What organisations may choose is less:
    see `UrlPolicy`.
    """
    parsed = _parse(url)
    if https_only and parsed.scheme != "https":
        raise UrlRefused("scheme", "The URL must begin with https://.", code="scheme_forbidden")
    return parsed


@lru_cache(maxsize=2048)
def _parse(url: str) -> Url:
    if len(url) > MAX_URL:
        raise UrlRefused("length", f"The URL must have at most {MAX_URL} characters.")
    if _UNSAFE.search(url):
        raise UrlRefused(
            "characters", "The URL must not contain spaces, control characters or backslashes; encode them."
        )
    match = _URL.fullmatch(url)
    if match is None:
        raise UrlRefused("form", "The URL must be absolute, as in https://example.com/path.")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise UrlRefused("scheme", "The URL must begin with https:// (or http://).", code="scheme_forbidden")
    if fragment is not None:
        raise UrlRefused("fragment", "The URL must not have a fragment; leave out the # and what follows.")
    if "@" in authority:
        raise UrlRefused(
            "userinfo", "The URL must not carry a user name or password; leave out what is before @."
        )
    target = (path or "/") + (query or "")
    if _TARGET_UNSAFE.search(target):
        raise UrlRefused("target", "The URL's path and query must be ASCII; percent-encode other characters.")
    host, port_text = _split_authority(authority)
    port = _DEFAULT_PORTS[scheme] if port_text is None else _port(port_text)
    bracketed = f"[{host}]" if ":" in host else host
    named = bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"
    host_key = f"{scheme}://{bracketed}:{port}"
    origin = Origin(scheme, host, port)
    return Url(scheme, host, port, target.encode("ascii"), host_key, named.encode("ascii"), origin)


def _split_authority(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UrlRefused(
                "host", "The URL's IPv6 address must stand in brackets, as in https://[2001:db8::1]/."
            )
        return _ipv6(literal), rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return _name(host), port if colon else None


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise UrlRefused(
            "port", "The URL's port must be a number from 1 to 65535, or left out with its colon."
        )
    return int(text)


def _ipv6(literal: str) -> str:
    # A scope id names an interface of this machine: nobody outside can mean anything by it.
    if "%" in literal:
        raise UrlRefused(
            "host", "The URL's IPv6 address must not have a scope; leave out the % and what follows."
        )
    try:
        address = IPv6Address(literal)
    except AddressValueError:
        raise UrlRefused(
            "host", "The URL's host is not an IPv6 address; correct what is in brackets."
        ) from None
    # RFC 5952 section 5; `compressed` does so only from Python 3.13 on, and keys must agree.
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else address.compressed


def _name(text: str) -> str:
    if not text:
        raise UrlRefused("host", "The URL must name a host, as in https://example.com/path.")
    host = (text if text.isascii() else _idna(text)).lower()
    labels = host.removesuffix(".").split(".")
    # What ends in a number is an IPv4 address to a browser or to inet_aton, in any of many spellings
    # (WHATWG URL section 3.5): only the plain one, with four decimal numbers, is taken.
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise UrlRefused(
                "host_spelling", "The URL's IPv4 address must be written as in 192.0.2.1."
            ) from None
    if sum(map(len, labels)) + len(labels) > 254 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("host", "The URL's host is not a valid name; use letters, digits, hyphens and dots.")
    return ".".join(labels)


def _idna(text: str) -> str:
    """Return the ASCII form (RFC 5891; UTS 46) of a host that has characters beyond ASCII.

    Such a label must remain an international one: full-width digits, ligatures and other look-alikes that
    would be folded to plain ASCII are refused, as are dots other than the ASCII one.
    """
    encoded = []
    for label in text.split("."):
        if label.isascii():
            encoded.append(label)
            continue
        try:
            folded = idna.encode(label, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            folded = ""
        if not folded.startswith("xn--") or "." in folded:
            raise UrlRefused(
                "host_spelling",
                "The URL's host has characters that no host name may have; use its ASCII form.",
            )
        encoded.append(folded)
    return ".".join(encoded)
