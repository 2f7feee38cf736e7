"""The vault: signing secrets as they lie in the database, sealed with a master key that does not.

Sealed form: version (1 byte), id of the master key (8), nonce (12), AES-256-GCM ciphertext and tag (NIST SP
800-38D). The subscription's id is authenticated with it, so that a row copied to another subscription does
not open.
"""

import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_ID_END = 9
_NONCE_END = 21
_TAG = 16
_KEY = 32
_CHECKED, _CHECK = UUID(int=0), "hookd master key"
_HEX = frozenset("0123456789abcdefABCDEF")


class VaultError(Exception):
    """A master key or a sealed secret that is of no use. The message says what to do."""


class Vault:
    """Encrypts secrets with the first master key and decrypts with all, so that keys can be rotated."""

    def __init__(self, *master_keys: bytes) -> None:
        """Take master keys of 32 bytes, the newest first. Raises `VaultError`."""
        if not master_keys or any(len(key) != _KEY for key in master_keys):
            raise VaultError(f"a master key is {_KEY} bytes; make one with `openssl rand -base64 {_KEY}`")
        self._ciphers = {_key_id(key): AESGCM(key) for key in master_keys}
        self._newest = _VERSION + _key_id(master_keys[0])
        self._cipher = self._ciphers[_key_id(master_keys[0])]

    def encrypt(self, secret: str, subscription: UUID) -> bytes:
        """Return `secret` sealed with the newest master key for this subscription alone."""
        nonce = os.urandom(_NONCE_END - _ID_END)
        bound_to = self._newest + subscription.bytes
        return self._newest + nonce + self._cipher.encrypt(nonce, secret.encode(), bound_to)

    def decrypt(self, sealed: bytes, subscription: UUID) -> str:
        """Return the secret that was sealed for this subscription. Raises `VaultError`."""
        if sealed[:1] != _VERSION or len(sealed) < _NONCE_END + _TAG:
            raise VaultError(
                f"the secret of subscription {subscription} is in a form that this version does not know;"
                " run the version that wrote it, or rotate the secret"
            )
        cipher = self._ciphers.get(sealed[1:_ID_END])
        if cipher is None:
            raise VaultError(
                f"the secret of subscription {subscription} was sealed with a master key that is not set"
                f" ({sealed[1:_ID_END].hex()}); add that key as a further line of [signing] master_key_file,"
                " or rotate the secret"
            )
        nonce, ciphertext = sealed[_ID_END:_NONCE_END], sealed[_NONCE_END:]
        try:
            return cipher.decrypt(nonce, ciphertext, sealed[:_ID_END] + subscription.bytes).decode()
        except InvalidTag:
            raise VaultError(
                f"the secret of subscription {subscription} is damaged or belongs to another subscription;"
                " restore its row from a backup, or rotate the secret"
            ) from None

    def is_newest(self, sealed: bytes) -> bool:
        """Tell whether `sealed` is under the newest master key; an older key may go when no row needs it."""
        return sealed[:_ID_END] == self._newest

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the master keys, newest first, as people read them."""
        return tuple(one.hex() for one in self._ciphers)

    def check_value(self) -> bytes:
        """Return a value by which the newest master key is known again: see `opens`."""
        return self.encrypt(_CHECK, _CHECKED)

    def opens(self, check_value: bytes) -> bool:
        """Tell whether one of the master keys made `check_value`."""
        try:
            return self.decrypt(check_value, _CHECKED) == _CHECK
        except VaultError:
            return False


def key_id(sealed: bytes) -> str:
    """Return the id of the master key that a value is sealed with, as people read it."""
    return sealed[1:_ID_END].hex()


def generate_master_key() -> str:
    """Return a new master key as one line of text: the base64 of 32 random bytes."""
    return b2a_base64(os.urandom(_KEY), newline=False).decode("ascii")


def parse_master_keys(content: bytes) -> tuple[bytes, ...]:
    """Return the keys in a master key file: one a line, newest first; `#` starts a comment.

    Raises `VaultError`, naming the line but never showing it.
    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise VaultError(
            f"holds raw bytes, not the base64 of a master key; if they are the {_KEY} bytes of one, write"
            " it as text with `openssl base64 -in FILE`"
        ) from None
    keys = [
        _parse_master_key(number, line)
        for number, line in enumerate(map(str.strip, lines), start=1)
        if line and not line.startswith("#")
    ]
    if not keys:
        raise VaultError(f"holds no master key; make one with `openssl rand -base64 {_KEY}`")
    return tuple(keys)


def _parse_master_key(number: int, line: str) -> bytes:
    if len(line) == 2 * _KEY and _HEX.issuperset(line):
        raise VaultError(
            f"line {number} is hexadecimal, not the base64 of a master key; write it as base64 with"
            " `xxd -r -p FILE | openssl base64`"
        )
    try:
        key = a2b_base64(line, strict_mode=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != _KEY:
        found = f"it is the base64 of {len(key)}" if key else "it is not base64"
        raise VaultError(
            f"line {number} is not a master key, the base64 of {_KEY} bytes: {found};"
            f" make one with `openssl rand -base64 {_KEY}`"
        )
    return key


def _key_id(key: bytes) -> bytes:
    return sha256(b"hookd master key id" + key).digest()[: _ID_END - 1]
