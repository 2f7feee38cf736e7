"""The keys that tokens are checked with: each serves its own kind of algorithm and no other.

That no public key is ever taken for an HMAC secret keeps algorithm confusion out (RFC 8725 section 3.1).
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

AsymmetricKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

_RSA_BITS = 2048  # the least that RFC 7518 section 3.3 allows
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # section 3.2
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}


def is_weak(key: AsymmetricKey) -> bool:
    """Tell whether no signature by `key` proves anything."""
    return isinstance(key, RSAPublicKey) and key.key_size < _RSA_BITS


def fits(key: AsymmetricKey, algorithm: str) -> bool:
    """Tell whether `key` is of the kind that `algorithm` takes."""
    match key:
        case RSAPublicKey():
            return algorithm in _RSA
        case EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name) == algorithm
    return algorithm == "EdDSA"


class NoSuchKey(Exception):
    """No key fits the token; the token is refused."""


class KeySource(Protocol):
    """Where the keys come from."""

    def serves(self, algorithm: str) -> bool:
        """Tell whether there may be a key for `algorithm`."""

    def in_use(self) -> object:
        """Return what stays the same object for as long as the keys are the same."""

    async def key(self, algorithm: str, kid: str | None) -> bytes | AsymmetricKey:
        """Return the key for a token with this header.

        Raises `NoSuchKey`, or a 503 `api.problems.Problem` where the keys cannot be had now.
        """


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One secret shared with the issuer, for HMAC."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a secret that is too short for any algorithm."""
        if len(self.secret) < min(_SECRET_BYTES.values()):
            raise ValueError(
                "the secret for tokens is shorter than 32 bytes (RFC 7518 section 3.2); "
                "make a longer one, for instance with: openssl rand -hex 32"
            )

    def serves(self, algorithm: str) -> bool:
        """Tell whether the secret is long enough for `algorithm`."""
        return len(self.secret) >= _SECRET_BYTES.get(algorithm, len(self.secret) + 1)

    def in_use(self) -> object:
        """Return itself: the secret never changes."""
        return self

    async def key(self, algorithm: str, kid: str | None) -> bytes:
        """Return the secret; a token's `kid` does not matter, as there is only one."""
        if not self.serves(algorithm):
            raise NoSuchKey
        return self.secret


class PublicKey:
    """One public key of the issuer."""

    def __init__(self, pem: bytes) -> None:
        """Read a key in PEM form; raises ValueError for what is not one or is too weak."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(
                "the public key for tokens is not a PEM file that begins with -----BEGIN PUBLIC KEY-----; "
                "get it with: openssl pkey -in private.pem -pubout"
            ) from error
        if not isinstance(key, AsymmetricKey):
            raise ValueError("the public key for tokens is of an unknown kind; use RSA, EC, Ed25519 or Ed448")
        if is_weak(key):
            raise ValueError(f"the RSA key for tokens has less than {_RSA_BITS} bits; make a longer one")
        self._key = key

    def serves(self, algorithm: str) -> bool:
        """Tell whether the key is of the kind that `algorithm` takes."""
        return fits(self._key, algorithm)

    def in_use(self) -> object:
        """Return itself: the key never changes."""
        return self

    async def key(self, algorithm: str, kid: str | None) -> AsymmetricKey:
        """Return the key; a token's `kid` does not matter, as there is only one."""
        if not self.serves(algorithm):
            raise NoSuchKey
        return self._key
