"""The form of a Postgres URL: what asyncpg takes, and where it would fail only once it connects.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS has libpq's parameters. Those
that asyncpg does not know it would hand to the server, as settings that the server does not know either.
"""

import re
from urllib.parse import parse_qs, quote, urlsplit

_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "gsslib": ("gssapi", "sspi"),
}
_ONLY_LIBPQ = re.compile(
    r"channel_binding|connect_timeout|fallback_application_name|gss(delegation|encmode)|hostaddr|keepalives\w*"
    r"|load_balance_hosts|m(ax|in)_protocol_version|replication|require(_auth|peer|ssl)"
    r"|ssl(certmode|compression|crldir|keylogfile|sni)|tcp_user_timeout"
)


def check_database_url(text: str) -> str:
    """Return the URL; "" is allowed. Raises ValueError that never shows a password."""
    if not text:
        return text
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError(
            'is not a Postgres URL such as "postgresql://user@host:5432/name" (or "" for the embedded server)'
        )
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("has brackets that hold no IPv6 address") from None
    if "@" in parts.path or parts.netloc.count("@") > 1:
        raise ValueError('has a "/" or "@" in its user name or password: write %2F or %40 for it there')
    if "#" in text:
        raise ValueError('has a "#" in it: write %23 for it')
    _check_hosts(parts.netloc.rpartition("@")[2])
    for name, value in parameters(text).items():
        _check_parameter(name, value)
    return text


def parameters(url: str) -> dict[str, str]:
    """Return what stands behind the "?" of a database URL; of a repeated name the last. Error: ValueError."""
    query = urlsplit(url).query
    try:
        found = parse_qs(query, keep_blank_values=True, strict_parsing=True) if query else {}
    except ValueError:
        raise ValueError('has something behind its "?" that is not name=value&name=value') from None
    return {name: values[-1] for name, values in found.items()}


def with_password(url: str, password: str) -> str:
    """Return the URL with a password for each of its hosts."""
    return f"{url}{'&' if '?' in url else '?'}password={quote(password, safe='')}"


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(","):
        name, _, port = (host, "", "") if host.endswith("]") else host.partition("]:" if "]" in host else ":")
        if port and not _is_port(port):
            raise ValueError(f'has no port from 1 to 65535 behind "{name}:"')


def _check_parameter(name: str, value: str) -> None:
    choices = _CHOICES.get(name)
    if choices is not None and value not in choices:
        raise ValueError(f"has {name}={value[:40]}: it is one of {', '.join(choices)}")
    if name == "port" and not all(map(_is_port, value.split(","))):
        raise ValueError("has a port that is not from 1 to 65535")
    if _ONLY_LIBPQ.fullmatch(name):
        raise ValueError(f"has {name}, which is libpq's alone: leave it out")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536
