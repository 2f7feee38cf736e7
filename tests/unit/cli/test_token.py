import time
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from api.auth import Authenticator, TokenRules
from api.keys import SecretKey
from daemon.cli.failure import CommandError
from daemon.cli.main import invoke
from daemon.cli.token import mint
from daemon.config.sections.auth import AuthConfig

ORG = UUID("018f6d1e-6a00-7000-8000-000000000001")
SECRET = b"a secret of more than thirty-two bytes"


def claims_of(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, SECRET, ["HS256"], options={"verify_aud": False})
    return decoded


def test_a_token_has_the_claims_that_the_configuration_asks_for() -> None:
    auth = AuthConfig(issuer="https://id.example", audience="hookd")
    before = int(time.time())
    claims = claims_of(mint(auth, SECRET, org=ORG, roles=["publisher", "org_admin", "publisher"], ttl=90))
    issued = claims.pop("iat")
    assert before <= issued <= time.time()
    assert before + 90 <= claims.pop("exp") <= time.time() + 91
    assert claims == {
        "sub": "hookd-cli",
        "iss": "https://id.example",
        "aud": "hookd",
        "org_id": str(ORG),
        "roles": ["publisher", "org_admin"],
    }


@pytest.mark.parametrize(
    ("org_claim", "roles_claim", "expected"),
    [
        (
            "ext.org",
            "realm_access.roles",
            {"ext": {"org": str(ORG)}, "realm_access": {"roles": ["publisher"]}},
        ),
        ("ext.org", "ext.roles", {"ext": {"org": str(ORG), "roles": ["publisher"]}}),
        ("org_id", "scope", {"org_id": str(ORG), "scope": "publisher"}),
        ("https://a.example/org", "roles", {"https://a.example/org": str(ORG), "roles": ["publisher"]}),
    ],
)
def test_claims_may_be_nested_scopes_or_urls(
    org_claim: str, roles_claim: str, expected: dict[str, Any]
) -> None:
    auth = AuthConfig(org_claim=org_claim, roles_claim=roles_claim)
    claims = claims_of(mint(auth, SECRET, org=ORG, roles=["publisher"], ttl=90))
    assert expected.items() <= claims.items()


NAMES = st.from_regex(r"(https://x\.example/)?[a-z]{2,5}(\.[a-z]{2,5}){0,2}|scope", fullmatch=True)


@given(NAMES, NAMES, st.lists(st.sampled_from(["org_admin", "publisher", "platform"]), min_size=1))
def test_the_api_accepts_whatever_is_made_for_its_configuration(
    org_claim: str, roles_claim: str, roles: list[str]
) -> None:
    auth = AuthConfig(org_claim=f"o{org_claim}", roles_claim=f"r{roles_claim}", issuer="me", audience="you")
    token = mint(auth, SECRET, org=ORG, roles=roles, ttl=60, subject="me")
    rules = TokenRules(
        auth.algorithms, auth.issuer, auth.audience, auth.org_claim, auth.roles_claim, auth.leeway
    )
    caller = trio.run(Authenticator(rules, SecretKey(SECRET), now=time.time).caller, [f"Bearer {token}"])
    assert (caller.subject, caller.org_id, caller.roles) == ("me", ORG, frozenset(roles))


def test_claims_that_exclude_each_other_are_named() -> None:
    with pytest.raises(CommandError, match=r"auth\.org_claim and auth\.roles_claim exclude each other"):
        mint(AuthConfig(org_claim="a.b", roles_claim="a"), SECRET, org=ORG, roles=["publisher"], ttl=1)


def test_a_short_secret_is_refused_as_the_daemon_would() -> None:
    with pytest.raises(CommandError, match=r"shorter than 32 bytes.*openssl rand"):
        mint(AuthConfig(), b"short", org=ORG, roles=["publisher"], ttl=1)


def test_the_command_prints_the_token_alone_signed_with_the_secret_that_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["token", "--org", str(ORG), "--role", "org_admin", "publisher", "--ttl", "5m", "--sub", "ci"]
    assert invoke([*command, "--set", f"state.directory={tmp_path}"]) == 0
    first = capsys.readouterr()
    assert first.out.count("\n") == 1
    assert f"made {tmp_path / 'token.secret'}" in first.err
    secret = (tmp_path / "token.secret").read_bytes().strip()
    claims = jwt.decode(first.out.strip(), secret, ["HS256"])
    assert claims["sub"] == "ci"
    assert claims["roles"] == ["org_admin", "publisher"]
    assert claims["exp"] - claims["iat"] in (300, 301)
    assert invoke([*command, "--set", f"state.directory={tmp_path}"]) == 0
    second = capsys.readouterr()
    assert second.err == ""
    assert jwt.decode(second.out.strip(), secret, ["HS256"])["org_id"] == str(ORG)


def test_another_issuers_key_is_said_to_be_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ['auth.algorithms=["EdDSA"]', "auth.public_key_file=/k.pem", f"state.directory={tmp_path}"]
    options = [word for setting in settings for word in ("--set", setting)]
    assert invoke(["token", "--org", str(ORG), "--role", "publisher", *options]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("hookd: tokens are signed by another issuer here")


@pytest.mark.parametrize("ttl", ["0s", "soon", "-5m"])
def test_a_ttl_must_be_some_time(ttl: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        invoke(["token", "--org", str(ORG), "--role", "publisher", f"--ttl={ttl}"])
    assert caught.value.code == 2
    assert f"argument --ttl: '{ttl}'" in capsys.readouterr().err
