"""The signing secrets of Standard Webhooks 1.0: how they are made, read and used.

`whsec_` is a shared secret (HMAC-SHA256, signature `v1`); `whsk_` and `whpk_` are the two halves of an
Ed25519 pair (signature `v1a`), of which hookd holds the first and the receiver the second.
"""

import os
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

_SHARED = "whsec_"
_PRIVATE = "whsk_"
_PUBLIC = "whpk_"
_NOT_BASE64 = (
    "What follows whsec_ is not base64: its characters are the key as they stand, and the libraries for"
    " Standard Webhooks, which decode it, verify nothing. Use the base64 of 24 to 64 random bytes, or leave"
    " it out to have one made."
)
_SHORT = (
    "The key has {} bytes, and Standard Webhooks asks for 24 to 64. Use the base64 of so many random bytes,"
    " or leave it out to have one made."
)
_SHARED_FORM = re.compile(r"[\x20-\x7e]{8,256}")
_MIN_KEY_BYTES = 24  # Standard Webhooks 1.0, "Signature scheme"
_RANDOM = 22
"""Characters of base64 that 16 random bytes take; what is shorter is rather a phrase with hyphens."""
_BASE64_URL = re.compile(r"(?=[^_-]*[_-])[A-Za-z0-9_-]+=*")
_BASE64 = re.compile(r"([A-Za-z0-9+/]+)=*")


class BadSecretError(ValueError):
    """A text that cannot be a signing secret. The message says what to give instead, not what was given."""


class Mac:
    """HMAC-SHA256 with one key, which is worked in once: that is half the cost of a short message."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = HMAC(key, SHA256())

    def digest(self, content: bytes) -> bytes:
        """Return the 32 bytes for `content`."""
        mac = self._keyed.copy()
        mac.update(content)
        return mac.finalize()


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A shared secret. `given` is the secret as registered, prefix and all; `key` keys the signature."""

    given: bytes = field(repr=False)
    key: bytes = field(repr=False)
    mac: Mac = field(init=False, repr=False, compare=False)
    given_mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work the keys in."""
        object.__setattr__(self, "mac", Mac(self.key))
        object.__setattr__(self, "given_mac", Mac(self.given))

    def signature(self, content: bytes) -> str:
        """Return `v1,` and the base64 of the HMAC-SHA256 of `content`."""
        return "v1," + _base64(self.mac.digest(content))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The private half of an Ed25519 pair (RFC 8032). `given` is the secret as registered, prefix and all."""

    given: bytes = field(repr=False)
    key: Ed25519PrivateKey = field(repr=False)
    given_mac: Mac = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work the key of the platform's own signature in."""
        object.__setattr__(self, "given_mac", Mac(self.given))

    def signature(self, content: bytes) -> str:
        """Return `v1a,` and the base64 of the Ed25519 signature of `content`."""
        return "v1a," + _base64(self.key.sign(content))

    @property
    def public(self) -> str:
        """The `whpk_` text that the receiver verifies with; it is no secret."""
        return _PUBLIC + _base64(self.key.public_key().public_bytes_raw())


SigningKey: TypeAlias = SharedKey | PrivateKey


def generate_secret() -> str:
    """Return a new shared secret of 32 random bytes (the standard asks for 24 to 64)."""
    return _SHARED + _base64(os.urandom(32))


def generate_private_key() -> str:
    """Return a new Ed25519 private key as `whsk_` text; `parse_secret(...).public` is its other half."""
    return _PRIVATE + _base64(os.urandom(32))


def parse_secret(text: str) -> SigningKey:
    """Return the key that a `whsec_` or `whsk_` secret stands for. Raises `BadSecretError`.

    After `whsec_` any 8 to 256 printable ASCII characters will do. Characters of the standard base64 alphabet
    alone, then `=` or none, are base64 unless their number leaves 1 when divided by 4: missing padding is
    added, as the `standardwebhooks` package does. The bytes of anything else are the key as they stand.
    """
    if text.startswith(_SHARED):
        rest = text.removeprefix(_SHARED)
        if not _SHARED_FORM.fullmatch(rest):
            raise BadSecretError(
                "a secret is whsec_ and 8 to 256 printable ASCII characters after it; give one of that form,"
                " or none to have one made"
            )
        decoded = _decode(rest)
        return SharedKey(text.encode(), rest.encode() if decoded is None else decoded)
    if text.startswith(_PRIVATE):
        return PrivateKey(text.encode(), _private_key(text.removeprefix(_PRIVATE)))
    if text.startswith(_PUBLIC):
        raise BadSecretError("whpk_ is a public key, which cannot sign; give its private half, whsk_…")
    raise BadSecretError("a secret starts with whsec_ (or whsk_ for Ed25519); put that before it")


def check_new_secret(text: str) -> list[str]:
    """Return what a receiver will have trouble with in a secret that its owner brings; none: nothing.

    Raises `BadSecretError` as `parse_secret` does, and besides for what is hardly meant: blanks around it,
    and base64url (RFC 4648 section 5), whose bytes no library for receivers would take for the key.
    `parse_secret` reads both as they stand, as some may have been in use for long.
    """
    if text != text.strip() or text.startswith(_SHARED + " "):
        raise BadSecretError("a secret has no blanks around it; take them away")
    key = parse_secret(text)
    if isinstance(key, PrivateKey):
        return []
    rest = text.removeprefix(_SHARED)
    if _BASE64_URL.fullmatch(rest) and len(rest) >= _RANDOM:
        raise BadSecretError(
            "this looks like base64url, which receivers' libraries do not read; write + for - and / for _, so"
            " that it is base64, or leave it out to have one made"
        )
    if _decode(rest) is None:
        return [_NOT_BASE64]
    return [_SHORT.format(len(key.key))] if len(key.key) < _MIN_KEY_BYTES else []


def _private_key(text: str) -> Ed25519PrivateKey:
    decoded = _decode(text)
    if decoded is None or len(decoded) not in (32, 64):
        raise BadSecretError(
            "a private key is whsk_ and the base64 of a 32-byte Ed25519 seed, or of the seed and its public"
            " key (64 bytes); give one of that form"
        )
    key = Ed25519PrivateKey.from_private_bytes(decoded[:32])
    if decoded[32:] not in (b"", key.public_key().public_bytes_raw()):
        raise BadSecretError("the two halves of this whsk_ key do not belong together; export the key again")
    return key


def _decode(text: str) -> bytes | None:
    match = _BASE64.fullmatch(text)
    if match is None:
        return None
    try:
        return a2b_base64(match[1] + "==")
    except Base64Error:  # one character over: six bits, which make no byte
        return None


def _base64(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode("ascii")
