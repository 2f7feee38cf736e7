"""What tokens are verified with: a secret, a public key or a key set, as [auth] says."""

import logging
import secrets
from pathlib import Path

from api.jwks import KeySet
from api.keys import KeySource, PublicKey, SecretKey
from daemon.config.model import Config
from daemon.config.secret_file import read_or_make, read_secret
from daemon.process.issuer import key_set_fetch

logger = logging.getLogger("hookd")


def read_token_key(config: Config, state: Path) -> bytes:
    """Return the key that tokens are verified with: a public key in PEM form or an HS256 secret.

    Empty where the keys come from `auth.jwks_url`.
    """
    if config.auth.jwks_url:
        return b""
    if config.auth.public_key_file:
        return read_secret(Path(config.auth.public_key_file), private=False)
    if config.auth.secret_file:
        return read_secret(Path(config.auth.secret_file))
    path = state / "token.secret"
    secret, made = read_or_make(path, _random_text)
    if made:
        logger.warning(
            "made %s on first start; it signs and verifies HS256 tokens, for daemons with this state"
            " directory",
            path,
        )
    return secret


def key_source(config: Config, token_key: bytes) -> KeySource:
    """Return the keys for tokens. Error: ValueError."""
    auth = config.auth
    if auth.jwks_url:
        return KeySet(key_set_fetch(config), algorithms=auth.algorithms, refresh=auth.jwks_refresh)
    source: KeySource = PublicKey(token_key) if auth.public_key_file else SecretKey(token_key)
    if not any(source.serves(algorithm) for algorithm in auth.algorithms):
        file = Path(auth.public_key_file or auth.secret_file)
        raise ValueError(
            f"the key in {file} serves none of auth.algorithms ({', '.join(auth.algorithms)}): name the"
            " algorithm that the issuer signs with"
        )
    return source


def _random_text() -> bytes:
    return secrets.token_urlsafe(48).encode()
