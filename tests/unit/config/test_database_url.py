"""Database URLs: what is refused would fail at the connection, what is let through asyncpg takes."""

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.database_url import check_database_url, with_password
from daemon.config.load import ConfigError, load
from daemon.store.database import address_of

GOOD = [
    "postgresql://",
    "postgres://u@h/d",
    "postgresql://u:p%40%2F@h:5433/d?sslmode=require&application_name=x",
    "postgresql://u@a:1,b:2,[::1]:3/d?target_session_attrs=read-write",
    "postgresql:///d?host=/tmp&port=5433",
    "postgresql://u@%2Ftmp/d?sslmode=disable&sslnegotiation=postgres",
    "postgresql://u@[::1]/d?ssl_min_protocol_version=TLSv1.3&options=-c%20jit%3Doff",
]
BAD = [
    ("mysql://h/d", "is not a Postgres URL"),
    ("postgresql://u@h/d?sslmode=foo", "has sslmode=foo: it is one of disable, allow, prefer, require"),
    ("postgresql://u@h/d?sslmode=Require", "has sslmode=Require"),
    ("postgresql://u@h/d?sslmode=", "has sslmode=: "),
    ("postgresql://u@h/d?sslnegotiation=tls", "postgres, direct"),
    ("postgresql://u@h/d?target_session_attrs=master", "read-write"),
    ("postgresql://u@h/d?ssl_min_protocol_version=1.2", "TLSv1.2"),
    ("postgresql://u@h/d?connect_timeout=5", "which is libpq's alone: leave it out"),
    ("postgresql://u@h/d?keepalives_idle=5", "which is libpq's alone"),
    ("postgresql://u@h/d?port=x", "has a port"),
    ("postgresql://u@h/d?nonsense", "that is not name=value"),
    ("postgresql://u@h:0/d", 'behind "h:"'),
    ("postgresql://u@h:99999/d", 'behind "h:"'),
    ("postgresql://u@g,h:x/d", 'behind "h:"'),
    ("postgresql://u:hunter2/x@h/d", "write %2F or %40"),
    ("postgresql://u:hunter2@x@h/d", "write %2F or %40"),
    ("postgresql://u:hunter2#x@h/d", "write %23"),
    ("postgresql://u:hunter2?x@h/d", 'behind "u:"'),
    ("postgresql://u@[::1/d", "brackets"),
]
NOTHING = ("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile")
LATER = ("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib")


def as_asyncpg_reads(url: str) -> connect_utils._ConnectionParameters:
    """Return what asyncpg would connect with."""
    read = connect_utils._parse_connect_dsn_and_args  # type: ignore[attr-defined]
    parameters: connect_utils._ConnectionParameters = read(dsn=url, **dict.fromkeys([*NOTHING, *LATER]))[1]
    return parameters


@pytest.mark.parametrize("url", GOOD)
def test_what_is_let_through_asyncpg_takes(url: str) -> None:
    assert check_database_url(url) == url
    as_asyncpg_reads(url)


@pytest.mark.parametrize(("url", "said"), BAD)
def test_what_would_fail_later_is_refused_at_once(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={}, sets=[f"database.url={url}"])
    (problem,) = caught.value.problems
    assert problem.startswith("--set: database.url = ")
    assert said in problem
    assert "hunter2" not in problem


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
    st.sampled_from([url for url in GOOD if ":p%40" not in url]),
)
def test_a_password_of_its_own_is_given_to_every_host_and_not_shown(password: str, url: str) -> None:
    whole = with_password(url, password)
    assert check_database_url(whole) == whole
    assert as_asyncpg_reads(whole).password == password
    assert address_of(whole) == address_of(url)
