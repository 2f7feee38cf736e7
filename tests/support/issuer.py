"""An issuer of tokens: its private keys, the key set that it publishes, and a server of that over TLS."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jwt
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api.jwks import MIN_INTERVAL, KeySet
from tests.support.egress_harness import read_request, receiver, reset

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
ALGORITHMS: Mapping[type, str] = {
    rsa.RSAPrivateKey: "RS256",
    ec.EllipticCurvePrivateKey: "ES256",
    ed25519.Ed25519PrivateKey: "EdDSA",
    ed448.Ed448PrivateKey: "EdDSA",
}


def jwk(
    key: PrivateKey, kid: str | None = None, *, private: bool = False, **members: object
) -> dict[str, Any]:
    """Return a key as it stands in a key set; a member that is None is left out."""
    shown: Any = key if private else key.public_key()
    document: dict[str, Any]
    if isinstance(key, rsa.RSAPrivateKey):
        document = RSAAlgorithm.to_jwk(shown, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        document = ECAlgorithm.to_jwk(shown, as_dict=True)
    else:
        document = OKPAlgorithm.to_jwk(shown, as_dict=True)
    document.pop("key_ops", None)
    document = {**document, "kid": kid, "use": "sig", **members}
    return {name: value for name, value in document.items() if value is not None}


def key_set(*keys: object) -> bytes:
    """Return a key set as it is published."""
    return json.dumps({"keys": keys}).encode()


def token(key: PrivateKey, kid: str | None, claims: Mapping[str, Any]) -> str:
    """Return a token of the issuer that is good for an hour; a claim or a `kid` that is None is left out."""
    given = {"exp": int(time.time()) + 3600, "sub": "someone", **claims}
    return jwt.encode(
        {name: value for name, value in given.items() if value is not None},
        key,
        ALGORITHMS[next(kind for kind in ALGORITHMS if isinstance(key, kind))],
        {} if kid is None else {"kid": kid},
    )


def http_answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class KeyServer:
    """Serves `answer`, raw, or while `down` resets every connection; `fetches` are the requests that came."""

    answer: bytes
    down: bool = False
    fetches: list[bytes] = field(default_factory=list)
    port: int = 0

    def publish(self, *keys: object) -> None:
        self.answer = http_answer(key_set(*keys))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/keys"


@asynccontextmanager
async def key_server(authority: trustme.CA | None, *keys: object) -> AsyncIterator[KeyServer]:
    """Serve a key set on loopback over TLS, or without an `authority` in the clear."""
    server = KeyServer(http_answer(key_set(*keys)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if authority is not None:
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        if server.down:
            server.fetches.append(b"")
            reset(stream)
            return
        plain: trio.abc.Stream = stream
        if authority is not None:
            plain = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            while request := await read_request(plain):
                server.fetches.append(request)
                await plain.send_all(server.answer)

    async with receiver(serve) as port:
        server.port = port
        yield server


def a_minute_later(keys: KeySet) -> None:
    """Let a minute pass for `keys`, and so much more that they are old."""
    keys._began -= MIN_INTERVAL
    keys._read -= keys._refresh
