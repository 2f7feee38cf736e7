"""Loading: order of sources, origins, and every complaint at once with its place and remedy."""

# Covers daemon.config.kinds, daemon.config.problems.

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.durations import DURATION_FORM
from daemon.config.load import ConfigError, all_keys, load
from daemon.config.model import Config

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty directory, so that no config.toml is found by chance."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("daemon.config.load.INSTALLED", tmp_path / "etc.toml")


def write(text: str, name: str = "config.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def problems(text: str = "", environ: dict[str, str] | None = None, sets: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(text), environ=environ or {}, sets=sets)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_nothing_found_means_the_defaults() -> None:
    loaded = load(environ={})
    assert loaded.config == Config()
    assert loaded.path is None
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == {f"{section}.{key}" for section, key in all_keys()}


def test_files_are_searched_in_order(tmp_path: Path) -> None:
    def port(path: Path | None = None, here: bool = True, **environ: str) -> str:
        return load(path, environ=environ, here=here).config.api.bind

    write('[api]\nbind = "a:4"', "etc.toml")
    assert port() == "a:4"
    write('[api]\nbind = "a:3"', "config.toml")
    assert port() == "a:3"
    assert port(here=False) == "a:4"
    write('[api]\nbind = "a:2"', "two.toml")
    assert port(HOOKD_CONFIG="two.toml") == "a:2"
    assert port(HOOKD_CONFIG="") == "a:3"
    assert port(write('[api]\nbind = "a:1"', "one.toml"), HOOKD_CONFIG="two.toml") == "a:1"


@pytest.mark.parametrize(("path", "environ"), [(Path("no.toml"), {}), (None, {"HOOKD_CONFIG": "no.toml"})])
def test_a_file_that_was_named_must_be_there(path: Path | None, environ: dict[str, str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^no\.toml: there is no such file: correct (--config|HOOKD_CONFIG)"
    ):
        load(path, environ=environ)


def test_later_sources_win_and_origins_say_so() -> None:
    path = write("[delivery]\ntimeout = '1s'\nconcurrency = 5\nmax_response = 10\n\n[events]\nmax_depth=3")
    environ = {"HOOKD_DELIVERY__CONCURRENCY": "6", "HOOKD_DELIVERY__MAX_RESPONSE": "20B", "HOOKD_OTHER": "x"}
    loaded = load(path, environ=environ, sets=["delivery.max_response=30", "delivery.max_response = 40"])
    delivery = loaded.config.delivery
    assert (delivery.timeout, delivery.concurrency, delivery.max_response) == (1.0, 6, 40)
    assert loaded.origins["delivery.timeout"] == "config.toml line 2"
    assert loaded.origins["delivery.concurrency"] == "environment HOOKD_DELIVERY__CONCURRENCY"
    assert loaded.origins["delivery.max_response"] == "--set"
    assert loaded.origins["delivery.retry_jitter"] == "default"
    assert loaded.origins["events.max_depth"] == "config.toml line 7"


@pytest.mark.parametrize(
    ("setting", "section", "key", "expected"),
    [
        ("delivery.timeout=10s", "delivery", "timeout", 10.0),
        ("delivery.timeout=10", "delivery", "timeout", 10.0),
        ('delivery.retry_schedule=["1s", 2]', "delivery", "retry_schedule", (1.0, 2.0)),
        ("egress.https_only=false", "egress", "https_only", False),
        ('egress.allow_networks=["127.0.0.0/8"]', "egress", "allow_networks", ("127.0.0.0/8",)),
        ("database.url=postgresql://u:p=x@h/d", "database", "url", "postgresql://u:p=x@h/d"),
        ("auth.issuer=12", "auth", "issuer", "12"),
        ('auth.issuer="12"', "auth", "issuer", "12"),
        ("auth.issuer=", "auth", "issuer", ""),
        ("logging.level=debug", "logging", "level", "debug"),
        ('events.schemas={"match.accepted" = "/x"}', "events", "schemas", {"match.accepted": "/x"}),
    ],
)
def test_values_of_set_and_environment(setting: str, section: str, key: str, expected: Any) -> None:
    name, _, raw = setting.partition("=")
    variable = "HOOKD_" + name.upper().replace(".", "__")
    for loaded in (load(environ={}, sets=[setting]), load(environ={variable: raw})):
        value = getattr(getattr(loaded.config, section), key)
        assert value == expected
        assert type(value) is type(expected)


def test_an_override_from_the_environment_replaces_those_of_the_file() -> None:
    path = write('[[hosts.override]]\nmatch = "a.b"\n[[hosts.override]]\nmatch = "c.d"\n')
    assert load(path, environ={}).origins["hosts.override"] == "config.toml line 1"
    loaded = load(path, environ={"HOOKD_HOSTS__OVERRIDE": '[{match = "*.x.y", rate = 2}]'})
    assert [(one.match, one.rate, one.burst) for one in loaded.config.hosts.override] == [
        ("*.x.y", 2.0, None)
    ]
    assert loaded.origins["hosts.override"] == "environment HOOKD_HOSTS__OVERRIDE"


def test_every_problem_is_told_at_once_with_file_line_key_and_value() -> None:
    found = problems(
        'nope = 1\n[api]\nmax_bodi = 1\n[delivery]\ntimeout = 0\nretry_schedule = [\n  "x",\n]\n'
        "[daemon]\ntimeout = 1\n[[hosts.override]]\nmatch='a'\n[[hosts.override]]\nrate = 0\n",
        environ={"HOOKD_API__MAX_BATCH": "many"},
        sets=("egress.ports=80", "nonsense"),
    )
    assert sorted(found) == sorted(
        [
            "--set: 'nonsense' is not section.key=value: write --set delivery.timeout=10s",
            'config.toml line 1: unknown section "nope": known are ' + ", ".join(Config.model_fields),
            'config.toml line 3: unknown key "api.max_bodi": did you mean "api.max_body"?',
            "config.toml line 5: delivery.timeout = 0 is out of range: allowed is 10ms to 10m",
            f'config.toml line 6: delivery.retry_schedule[0] = "x" is not {DURATION_FORM}',
            'config.toml line 10: unknown key "daemon.timeout": did you mean "daemon.stop_timeout"?',
            "config.toml line 13: hosts.override[1].match is missing: add it",
            "config.toml line 14: hosts.override[1].rate = 0 is out of range: allowed is 0.001 to 1000000",
            'environment HOOKD_API__MAX_BATCH: api.max_batch = "many" is not a whole number',
            "--set: egress.ports = 80 is not a list: put brackets around it, such as [1, 2] or []",
        ]
    )


def test_a_key_of_another_section_is_named() -> None:
    (found,) = problems("[api]\nhttps_only = false")
    assert found == 'config.toml line 2: unknown key "api.https_only": did you mean "egress.https_only"?'


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("auth.algorithms=[]", "is empty: name at least one"),
        ('auth.algorithms=["none"]', 'is not one of "HS256"'),
        ('auth.algorithms=["HS256", "HS256"]', "2 times"),
        ('auth.algorithms=["RS256"]', "set auth.public_key_file or auth.jwks_url"),
        ("auth.jwks_url=http://example.com/k", "use https"),
        ("auth.jwks_url=ftp://example.com/k", "is not a URL"),
        ("auth.jwks_refresh=59s", "is out of range"),
        ('auth.jwks_allow_networks=["10.0.0.1/8"]', 'write "10.0.0.0/8"'),
        ("auth.org_claim=", "is empty"),
        ("database.schema=Hookd", "is not a name for a schema"),
        ("database.schema=x; drop", "is not a name for a schema"),
        ("database.schema=pg_hookd", "is not a name for a schema"),
        ("database.schema=" + "x" * 49, "is not a name for a schema"),
        ("delivery.retry_schedule=[]", "is empty"),
        ('delivery.retry_schedule=["1s", "-1s"]', "is not a duration"),
        ("delivery.retry_schedule=[0]", "is out of range"),
        ("delivery.retry_jitter=nan", "is out of range"),
        ("delivery.retry_jitter=true", "is not a number"),
        ("delivery.concurrency=1.0", "is not a whole number"),
        ("delivery.concurrency=true", "is not a whole number"),
        ("delivery.timeout=inf", "is out of range"),
        ("delivery.timeout=true", "is not a duration"),
        ("delivery.max_response=1.5", "is not a size"),
        ("egress.allow_networks=10.0.0.0/8", "is not a list"),
        ('egress.allow_networks=["10.0.0.1/8"]', 'write "10.0.0.0/8"'),
        ('egress.deny_networks=["example.com"]', "is not an IP network"),
        ("egress.ports=[0]", "is out of range"),
        ("egress.https_only=1", "is not true or false"),
        ("egress.resolver=example.com", "is neither"),
        ("egress.proxy=proxy.example.com:3128", "is not a proxy such as"),
        ("egress.proxy=http://proxy.example.com", "is not a proxy such as"),
        ("egress.proxy=http://proxy.example.com:65536", "is not a proxy such as"),
        ("egress.proxy=https://proxy.example.com:3128", "name its http:// port"),
        ("egress.proxy=http://me:hunter2@proxy.example.com:3128", "egress.proxy_credentials_file"),
        ("egress.proxy_resolves=true", "is for egress.proxy, which is empty"),
        ("egress.proxy_credentials_file=/x", "is for egress.proxy, which is empty"),
        ('egress.proxy_hosts=["a b"]', "is not a host pattern"),
        ('egress.proxy_except=["*"]', "is not a host pattern"),
        ('egress.source_address=["eth0"]', "is not an IP address"),
        ('egress.source_address=["0.0.0.0"]', "leave the list empty"),
        ('egress.source_address=["fe80::1%eth0"]', "is not an address of one machine"),
        ('egress.source_address=["192.0.2.1", "192.0.2.2"]', "has two addresses of one kind"),
        ("events.types=[]", "is empty"),
        ('events.types=["Order.paid"]', "is not an event type"),
        ('events.types=["paid"]', "is not an event type"),
        ('events.types=["a.b", "a.b"]', "2 times"),
        ('events.schemas={"a.b" = "/x"}', "add it there"),
        ("hosts.burst=0.5", "is out of range"),
        ("hosts.in_flight=0", "is out of range"),
        ('hosts.override=[{match="a b"}]', "is not a host pattern"),
        ('hosts.override=[{match="a.b"}, {match="A.b"}]', "2 times"),
        ("hosts.override=[1]", "is not a table"),
        ("signing.header_prefix=X Y", "cannot begin the name of a header"),
        ("signing.header_prefix=Webhook-", "clash"),
        ("logging.level=loud", "is not one of"),
        ("state.directory=a\x00b", "control character"),
        ("api.bind=8080", "has no port"),
        ("metrics.bind=x", "has no port"),
        ("daemon.stop_timeout=0s", "is out of range: allowed is 100ms to 1h"),
        ("database.url=mysql://h/d", "is not a Postgres URL"),
    ],
)
def test_what_a_setting_may_not_be(setting: str, complaint: str) -> None:
    (found,) = problems(sets=(setting,))
    assert found.startswith(f"--set: {setting.partition('=')[0]}")
    assert complaint in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('secret_file = "a"\njwks_url = "https://x/"', "auth.jwks_url"),
        ('jwks_url = "https://x/"', "leave it out"),
        ('public_key_file = "x"', "leave it out"),
        ('secret_file = "a"\nalgorithms = ["EdDSA"]', "instead of a secret"),
        ('jwks_url = "https://x/"\nalgorithms = ["RS256", "HS256"]', "leave it out"),
    ],
)
def test_keys_and_algorithms_must_fit(text: str, complaint: str) -> None:
    (found,) = problems(f"[auth]\n{text}")
    assert complaint in found


def test_public_keys_with_their_algorithms_are_good() -> None:
    auth = load(
        write('[auth]\njwks_url = "https://x/k"\nalgorithms = ["RS256", "EdDSA"]'), environ={}
    ).config.auth
    assert auth.algorithms == ("RS256", "EdDSA")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[api]\nbind = \n", "config.toml:2:8: is not TOML"),
        (b"[api]\n[api]\n", "config.toml:2:"),
        (b"a = [1,", "config.toml: is not TOML"),
        (b"a = 1\nb = '\xff'", "config.toml:2: is not UTF-8"),
        (b"a = " + b"[" * 5000, "config.toml: is nested too deeply"),
    ],
)
def test_a_broken_file_is_told_with_its_place(content: bytes, place: str) -> None:
    Path("config.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(environ={}, here=True)
    (found,) = caught.value.problems
    assert found.startswith(place)


def test_a_directory_in_place_of_the_file_is_told() -> None:
    Path("config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read"):
        load(environ={}, here=True)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    Path("config.toml").write_bytes(b"\xef\xbb\xbf[api]\r\nmax_batch = 3\r\n")
    loaded = load(environ={}, here=True)
    assert (loaded.config.api.max_batch, loaded.origins["api.max_batch"]) == (3, "config.toml line 2")


@pytest.mark.parametrize(
    "text",
    [
        f"[database]\nurl = 'mysql://u:{SECRET}@h/d'",
        f"[database]\nurl = ['{SECRET}']",
        f"[database]\nuri = '{SECRET}'",
        f"[datobase]\nurl = '{SECRET}'",
        f'[database]\nurl = "postgresql://u:{SECRET}/x@h/d\\u0000"',
        f"database = '{SECRET}'",
    ],
)
def test_no_secret_is_in_a_complaint(text: str) -> None:
    assert SECRET not in "\n".join(problems(text))


@given(st.text(max_size=40))
def test_any_file_is_read_or_refused_with_problems(text: str) -> None:
    path = Path("any.toml")
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = load(path, environ={}).path
    except ConfigError as error:
        found = path if error.problems else None
    assert found == path
