"""What a text setting may be: pure checks that return the text in its usual form or raise ValueError."""

import re
from ipaddress import ip_address, ip_network
from typing import TypeVar
from urllib.parse import urlsplit

from daemon.config.bind import parse_bind

_Item = TypeVar("_Item")

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}", re.ASCII)
_HEADER_PREFIX = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_EVENT_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+", re.ASCII)
_EVENT_TYPE_LENGTH = 128
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://([a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)
_USUAL_PORTS = {"http": "80", "https": "443"}


def schema_name(text: str) -> str:
    """Check the name of the database schema, which is put into SQL as it stands."""
    if not _SCHEMA.fullmatch(text) or text.startswith("pg_"):
        raise ValueError(
            "is not a name for a schema: use 1 to 48 of a-z, 0-9 and _, "
            'beginning with a letter or _, and not with "pg_"'
        )
    return text


def header_prefix(text: str) -> str:
    """Check the beginning of header names (a token, RFC 9110 section 5.6.2)."""
    if not _HEADER_PREFIX.fullmatch(text):
        raise ValueError('cannot begin the name of a header: use 1 to 64 letters, digits and "-"')
    if text.lower().startswith("webhook-"):
        raise ValueError('would clash with the headers of Standard Webhooks: use another than "webhook-"')
    return text


def event_type(text: str) -> str:
    """Check the name of an event type."""
    if len(text) > _EVENT_TYPE_LENGTH or not _EVENT_TYPE.fullmatch(text):
        raise ValueError(
            'is not an event type: use words of a-z, 0-9 and _ joined by dots, such as "order.paid", '
            f"at most {_EVENT_TYPE_LENGTH} characters"
        )
    return text


def not_empty(text: str) -> str:
    """Check that there is something."""
    if not text:
        raise ValueError("is empty: give it a value, or leave the key out for the default")
    return text


def some(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    """Check that a list has something in it."""
    if not items:
        raise ValueError("is empty: name at least one, or leave the key out for the default")
    return items


def network(text: str) -> str:
    """Check an IP network in CIDR form, or a single address."""
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        wanted = ip_network(text, strict=False)
    except ValueError:
        raise ValueError('is not an IP network such as "10.0.0.0/8" or "fd00::/8"') from None
    raise ValueError(f'has bits set after its prefix: write "{wanted}"')


def address(text: str) -> str:
    """Check an IP address."""
    try:
        found = ip_address(text)
    except ValueError:
        raise ValueError('is not an IP address such as "192.0.2.10"') from None
    if found.is_unspecified or found.is_multicast or getattr(found, "scope_id", None):
        raise ValueError("is not an address of one machine: leave the list empty to let the system choose")
    return str(found)


def bind_address(text: str) -> str:
    """Check an address to listen on."""
    parse_bind(text)
    return text


def optional_bind_address(text: str) -> str:
    """Check an address to listen on; "" is allowed."""
    return text and bind_address(text)


def jwks_url(text: str) -> str:
    """Check the address of a key set: HTTPS, or HTTP on this machine; "" is allowed."""
    if not text:
        return text
    try:
        split = urlsplit(text)
        host, _ = split.hostname, split.port
    except ValueError:
        host = None
    if not host or split.scheme not in ("https", "http"):
        raise ValueError('is not a URL such as "https://login.example.com/.well-known/jwks.json"')
    if split.scheme == "http" and not _is_loopback(host):
        raise ValueError("would fetch keys unencrypted: use https (http is for this machine only)")
    if split.username is not None or split.fragment:
        raise ValueError("has a user name or a fragment in it: leave it out")
    return text


def cors_origin(text: str) -> str:
    """Check an origin as browsers write it (RFC 6454 section 6.2), or "*" for all."""
    if text == "*":
        return text
    match = _ORIGIN.fullmatch(text.lower())
    port = match and match["port"]
    if match is None or (port and not 0 < int(port) < 65536):
        raise ValueError(
            'is not an origin such as "https://app.example.com": write scheme, host and, unless it is the '
            'usual one, port, without a path or "/" at the end; international names in their "xn--" form'
        )
    usual = _USUAL_PORTS[match["scheme"]]
    return text.lower().removesuffix(f":{usual}") if port == usual else text.lower()


def resolver(text: str) -> str:
    """Check the choice of resolver: "system", or the address of a name server."""
    if text != "system":
        host, bracket, port = text.rpartition("]") if text.startswith("[") else (text, "", "")
        if bracket:
            host, port = host.removeprefix("["), port.removeprefix(":")
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        try:
            ip_address(host)
            valid = not port or 0 < int(port) < 65536
        except ValueError:
            valid = False
        if not valid:
            raise ValueError('is neither "system" nor the address of a name server such as "10.0.0.53:53"')
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
