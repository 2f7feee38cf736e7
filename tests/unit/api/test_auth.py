import json
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from api.auth import Authenticator, Caller, TokenRules
from api.keys import PublicKey, SecretKey
from api.problems import Problem
from daemon.model import Role

SECRET = b"0123456789abcdef0123456789abcdef"
ORG = "018f0000-0000-7000-8000-000000000001"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims; a change to None leaves a claim out."""
    standard = {"exp": time.time() + 60, "sub": "someone", "org_id": ORG, "roles": ["publisher"], **changes}
    return {name: value for name, value in standard.items() if value is not None}


def signed(payload: dict[str, Any], headers: dict[str, Any] | None = None, secret: bytes = SECRET) -> str:
    return jwt.encode(payload, secret, "HS256", headers)


async def caller(token: str, rules: TokenRules | None = None) -> Caller:
    authenticator = Authenticator(rules or TokenRules(("HS256",)), SecretKey(SECRET), now=time.time)
    return await authenticator.caller([f"Bearer {token}"])


async def refused(authorization: Sequence[str], rules: TokenRules | None = None) -> Problem:
    authenticator = Authenticator(rules or TokenRules(("HS256",)), SecretKey(SECRET), now=time.time)
    with pytest.raises(Problem) as caught:
        await authenticator.caller(authorization)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer ")
    return caught.value


async def test_a_good_token_tells_who_calls() -> None:
    assert await caller(signed(claims())) == Caller("someone", UUID(ORG), frozenset({"publisher"}))


class Turning(SecretKey):
    """A secret that a test can replace, and counts how often it was asked for."""

    asked = 0
    now: object = "first"

    def in_use(self) -> object:
        return Turning.now

    async def key(self, algorithm: str, kid: str | None) -> bytes:
        Turning.asked += 1
        return SECRET if Turning.now == "first" else SECRET[::-1]


async def test_a_signature_is_checked_once_for_as_long_as_the_keys_are_the_same() -> None:
    Turning.asked, Turning.now = 0, "first"
    authenticator = Authenticator(TokenRules(("HS256",)), Turning(SECRET), now=time.time)
    token = signed(claims())
    for _ in range(3):
        assert (await authenticator.caller([f"Bearer {token}"])).subject == "someone"
    assert Turning.asked == 1
    with pytest.raises(Problem):
        await authenticator.caller([f"Bearer {token[:-4]}AAAA"])
    Turning.now = "second"
    with pytest.raises(Problem):
        await authenticator.caller([f"Bearer {token}"])


async def test_a_known_token_ends_when_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = Authenticator(TokenRules(("HS256",), leeway=0), SecretKey(SECRET), now=time.time)
    token = signed(claims(exp=time.time() + 60))
    await authenticator.caller([f"Bearer {token}"])
    monkeypatch.setattr(authenticator._known, "_clock", lambda: time.time() + 61)
    assert authenticator._known.find(token, authenticator._keys.in_use()) is None


async def test_tokens_are_good_by_the_clock_that_is_given_and_not_by_this_machines() -> None:
    then = time.time() - 400 * 86400
    rules = TokenRules(("HS256",), leeway=30)
    authenticator = Authenticator(rules, SecretKey(SECRET), now=lambda: then)

    async def status(**times: float) -> int:
        try:
            await authenticator.caller([f"Bearer {signed(claims(**times))}"])
        except Problem as problem:
            return problem.status
        return 200

    assert await status(exp=then + 60) == 200
    assert await status(exp=then - 29, nbf=then + 29, iat=then + 29) == 200
    assert await status(exp=then - 31) == 401
    assert await status(exp=then + 60, nbf=then + 31) == 401
    assert await status(exp=then + 60, iat=then + 31) == 401


async def test_the_scheme_is_not_case_sensitive() -> None:
    authenticator = Authenticator(TokenRules(("HS256",)), SecretKey(SECRET), now=time.time)
    assert (await authenticator.caller([f"bEARER  {signed(claims())}"])).subject == "someone"


async def test_roles_may_be_absent_or_a_text() -> None:
    assert (await caller(signed(claims(roles=None)))).roles == frozenset()
    assert (await caller(signed(claims(roles="publisher  org_admin")))).roles == {"publisher", "org_admin"}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"exp": 1e400},
        {"nbf": time.time() + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"org_id": None},
        {"org_id": "acme"},
        {"org_id": 5},
        {"org_id": [ORG]},
        {"roles": 5},
        {"roles": {"publisher": True}},
        {"roles": ["publisher", 5]},
    ],
)
async def test_bad_claims_are_refused(changes: dict[str, Any]) -> None:
    payload = claims(**{name: value for name, value in changes.items() if name != "sub" or value != 7})
    token = signed(payload)
    if changes.get("sub") == 7:  # PyJWT does not write such a token
        token = jwt.api_jws.encode(b'{"exp":9999999999,"sub":7,"org_id":"%s"}' % ORG.encode(), SECRET)
    assert 'error="invalid_token"' in (await refused([f"Bearer {token}"])).headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["exp"], "exp": 1},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AAAA"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"kid": 5},
    ],
)
async def test_headers_that_bring_keys_or_nest_are_refused(headers: dict[str, Any]) -> None:
    good = signed(claims())
    body = jwt.decode(good, SECRET, ["HS256"])
    token = jwt.api_jws.PyJWS().encode(
        json.dumps(body).encode(),
        SECRET,
        "HS256",
        {key: headers[key] for key in headers if key != "kid"},
    )
    if "kid" in headers:
        token = _rewritten(good, '{"alg":"HS256","kid":5}')
    await refused([f"Bearer {token}"])


def _rewritten(token: str, header: str) -> str:
    encoded = jwt.utils.base64url_encode(header.encode()).decode()
    body = token.split(".")[1]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{encoded}.{body}".encode(), SECRET
    )
    return f"{encoded}.{body}.{jwt.utils.base64url_encode(signature).decode()}"


async def test_other_algorithms_and_keys_are_refused() -> None:
    for token in [
        jwt.encode(claims(), "", "none"),
        jwt.encode(claims(), SECRET * 2, "HS512"),
        jwt.encode(claims(), RSA, "RS256"),
        signed(claims(), secret=b"another secret of thirty-two bytes"),
        _rewritten(signed(claims()), '{"alg":["HS256"]}'),
        _rewritten(signed(claims()), '{"alg":null}'),
        _rewritten(signed(claims()), "[]"),
    ]:
        await refused([f"Bearer {token}"])


async def test_a_public_key_is_no_hmac_secret() -> None:
    public = pem(RSA)
    authenticator = Authenticator(TokenRules(("RS256",)), PublicKey(public), now=time.time)
    header = jwt.utils.base64url_encode(b'{"alg":"HS256"}')
    body = signed(claims()).split(".")[1].encode()
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = b".".join([header, body, jwt.utils.base64url_encode(mac.sign(header + b"." + body, b"x" * 32))])
    with pytest.raises(Problem):
        await authenticator.caller([f"Bearer {forged.decode()}"])
    with pytest.raises(ValueError, match="no configured key"):
        Authenticator(TokenRules(("RS256", "HS256")), PublicKey(public), now=time.time)
    with pytest.raises(ValueError, match="no configured key"):
        Authenticator(TokenRules(("RS256",)), SecretKey(public), now=time.time)


@pytest.mark.parametrize(
    ("private", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")]
)
async def test_public_keys_check_tokens(private: Any, algorithm: str) -> None:
    authenticator = Authenticator(TokenRules((algorithm,)), PublicKey(pem(private)), now=time.time)
    token = jwt.encode(claims(), private, algorithm)
    assert (await authenticator.caller([f"Bearer {token}"])).subject == "someone"


def test_weak_and_foreign_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SecretKey(b"short")
    with pytest.raises(ValueError, match="PEM"):
        PublicKey(b"not a key")
    weak = rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key()
    with pytest.raises(ValueError, match="2048"):
        PublicKey(weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "0123" not in repr(SecretKey(SECRET))


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic dXNlcjpwYXNz"],
        ["Bearer a.b"],
        ["Bearer a.b.c.d.e"],
        ["Bearer " + "." * 3],
        ["Bearer " + "a" * 9000],
        ["Bearer é.é.é"],
        ["Bearer " + jwt.utils.base64url_encode(b"[" * 5000).decode() + ".e30.e30"],
    ],
)
async def test_what_is_no_token_is_refused(authorization: list[str]) -> None:
    await refused(authorization)


async def test_several_headers_are_refused() -> None:
    await refused([f"Bearer {signed(claims())}"] * 2)


async def test_issuer_and_audience_count_where_configured() -> None:
    rules = TokenRules(("HS256",), issuer="https://issuer", audience="hookd")
    good = claims(iss="https://issuer", aud=["other", "hookd"])
    assert (await caller(signed(good), rules)).subject == "someone"
    wrongs: list[dict[str, Any]] = [{"iss": "https://evil"}, {"iss": None}, {"aud": "other"}, {"aud": None}]
    for wrong in wrongs:
        payload = {name: value for name, value in {**good, **wrong}.items() if value is not None}
        await refused([f"Bearer {signed(payload)}"], rules)
    assert (await caller(signed(claims(iss="any", aud="any")))).subject == "someone"


async def test_leeway_forgives_clocks() -> None:
    late = signed(claims(exp=time.time() - 10))
    assert (await caller(late, TokenRules(("HS256",), leeway=30))).subject == "someone"
    await refused([f"Bearer {late}"], TokenRules(("HS256",), leeway=1))


async def test_claims_may_have_other_names_and_lie_deep() -> None:
    rules = TokenRules(("HS256",), org_claim="https://x.example/org", roles_claim="realm_access.roles")
    payload = claims(org_id=None, roles=None, realm_access={"roles": ["org_admin"]})
    token = signed({**payload, "https://x.example/org": ORG})
    assert await caller(token, rules) == Caller("someone", UUID(ORG), frozenset({"org_admin"}))
    await refused([f"Bearer {signed(payload)}"], rules)


def test_a_missing_role_is_403() -> None:
    reader = Caller("someone", UUID(ORG), frozenset({"publisher"}))
    reader.require(Role.PUBLISHER)
    with pytest.raises(Problem) as caught:
        reader.require(Role.ORG_ADMIN)
    assert caught.value.status == 403
    assert "org_admin" in caught.value.detail


@given(st.text(max_size=200))
async def test_no_text_breaks_it(text: str) -> None:
    await refused([text])
    await refused([f"Bearer {text}"])
