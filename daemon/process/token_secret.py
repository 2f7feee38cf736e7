"""The key that tokens are verified with, as its file has it; an HS256 secret is made by a first start."""

import logging
import secrets
from pathlib import Path

from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError, read_or_make, read_secret
from daemon.process.state import StartError

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


def token_secret(config: Config, state: Path) -> bytes:
    """Return the secret that signs HS256 tokens. Error: `StartError` where another issuer signs."""
    if "HS256" not in config.auth.algorithms or config.auth.public_key_file or config.auth.jwks_url:
        raise StartError(
            "tokens are signed by another issuer here: get one from it, or set auth.algorithms to"
            ' ["HS256"] and auth.secret_file'
        )
    try:
        return read_token_key(config, state)
    except SecretFileError as error:
        raise StartError(str(error)) from error


def _random_text() -> bytes:
    return secrets.token_urlsafe(48).encode()
