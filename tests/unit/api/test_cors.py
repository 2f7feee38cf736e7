"""Cross-origin header fields, and the origins that configuration takes."""

import pytest
from werkzeug.datastructures import Headers

from api.cors import cross_origin_fields
from daemon.config.checks import cors_origin
from daemon.config.config_error import ConfigError
from daemon.config.load import load

APP = "https://app.example.com"
PREFLIGHT = Headers({"Origin": APP, "Access-Control-Request-Method": "PATCH"})
ALLOW = Headers({"Allow": "GET, PATCH"})


def test_nothing_is_said_unless_origins_are_named() -> None:
    assert cross_origin_fields((), "GET", Headers({"Origin": APP}), Headers()) == {}
    assert cross_origin_fields((), "OPTIONS", PREFLIGHT, ALLOW) == {}


def test_a_named_origin_may_read_the_answer() -> None:
    fields = cross_origin_fields((APP,), "GET", Headers({"Origin": APP}), Headers())
    assert fields["Access-Control-Allow-Origin"] == APP
    assert fields["Vary"] == "Origin"
    assert {"ETag", "Link", "RateLimit", "X-Request-Id"} <= set(
        fields["Access-Control-Expose-Headers"].split(", ")
    )


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://app.example.com.evil.example",
        "https://App.example.com",
        "http://app.example.com",
    ],
)
def test_another_origin_may_not(origin: str | None) -> None:
    sent = Headers({} if origin is None else {"Origin": origin})
    assert cross_origin_fields((APP,), "GET", sent, Headers()) == {"Vary": "Origin"}


def test_any_origin_is_one_answer_for_all() -> None:
    fields = cross_origin_fields(("*",), "GET", Headers({"Origin": "null"}), Headers())
    assert fields["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in fields


def test_a_preflight_hears_what_the_path_allows() -> None:
    fields = cross_origin_fields((APP,), "OPTIONS", PREFLIGHT, ALLOW)
    assert fields["Access-Control-Allow-Methods"] == "GET, PATCH"
    assert "Authorization" in fields["Access-Control-Allow-Headers"]
    assert int(fields["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize("origins", [(APP,), ("*",)])
def test_credentials_are_never_allowed(origins: tuple[str, ...]) -> None:
    for method in ("GET", "OPTIONS"):
        fields = cross_origin_fields(origins, method, PREFLIGHT, ALLOW)
        assert "Access-Control-Allow-Credentials" not in fields


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("*", "*"),
        (APP, APP),
        ("HTTPS://App.Example.com", APP),
        ("https://app.example.com:443", APP),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(text: str, usual: str) -> None:
    assert cors_origin(text) == usual


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://*.example.com",
        "https://user@app.example.com",
        "https://app.example.com:",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://äpp.example.com",
        "https://app.example.com https://b.example.com",
        "ftp://app.example.com",
        "https://app.example.com\n",
    ],
)
def test_other_texts_are_no_origins(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin such as"):
        cors_origin(text)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ('["*", "https://a.b"]', 'keep "*" alone'),
        ('["https://a.b", "https://a.b:443"]', "keep one"),
        ('["a.b"]', "is not an origin such as"),
    ],
)
def test_origins_that_do_not_do_are_told(value: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.cors_origins") as caught:
        load(environ={}, sets=[f"api.cors_origins={value}"])
    assert complaint in str(caught.value)
