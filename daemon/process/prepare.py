"""What must stand before the daemon starts: the state directory, the secrets, a Postgres."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.config.load import Loaded
from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError, read_or_make, read_secret
from daemon.config.state import StateError, make_state_directory, state_directory
from daemon.process.child import Child
from daemon.process.master_key import MasterKeyError, MasterKeyFile
from daemon.store.database import OWN_CONNECTIONS
from daemon.store.embedded import Embedded, EmbeddedError

logger = logging.getLogger("hookd")

_USUAL_CONNECTIONS = 100
_OTHER_CONNECTIONS = 20  # commands, people, and those that Postgres keeps for superusers


class StartError(Exception):
    """The daemon cannot start; the text names the fault and says what to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a start needs.

    `token_key`: the HS256 secret or the PEM public key that verifies tokens; empty where a key set does.
    `child`: what a supervisor handed over, if there is one.
    """

    loaded: Loaded
    state: Path
    database_url: str
    master_key_file: MasterKeyFile
    token_key: bytes
    embedded: Embedded | None = None
    child: Child | None = None

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.loaded.config


@contextmanager
def prepared(loaded: Loaded, child: Child | None = None) -> Iterator[Prepared]:
    """Prepare a start; afterwards stop the embedded Postgres if nobody else uses it. Error: `StartError`."""
    config = loaded.config
    state = prepare_state(config)
    master_key_file = master_key_file_of(config, state)
    try:
        master_key_file.read()  # a fault in it is told before a server is started
        token_key = read_token_key(config, state)
    except (SecretFileError, MasterKeyError) as error:
        raise StartError(str(error)) from error
    with postgres(config, state) as (url, embedded):
        yield Prepared(loaded, state, url, master_key_file, token_key, embedded, child)


def prepare_state(config: Config) -> Path:
    """Return the state directory, made if it was missing. Error: `StartError`."""
    try:
        return make_state_directory(state_directory(config.state.directory))
    except StateError as error:
        raise StartError(str(error)) from error


@contextmanager
def database_url(config: Config, state: Path) -> Iterator[str]:
    """Give the URL of the Postgres to use, for as long as the block lasts. Error: `StartError`."""
    with postgres(config, state) as (url, _):
        yield url


@contextmanager
def postgres(config: Config, state: Path) -> Iterator[tuple[str, Embedded | None]]:
    """Give the URL of the configured Postgres, or of the embedded one and that. Error: `StartError`."""
    if config.database.url:
        yield config.database.url, None
        return
    try:
        server = Embedded(state, _server_settings(config))
    except EmbeddedError as error:
        raise StartError(str(error)) from error
    try:
        yield server.url, server
    finally:
        server.close()


def _server_settings(config: Config) -> dict[str, str]:
    """Return what the embedded server must have beside its usual settings: room for all connections."""
    each = config.database.pool_size + OWN_CONNECTIONS
    needed = config.daemon.processes * each + _OTHER_CONNECTIONS
    return {"max_connections": str(needed)} if needed > _USUAL_CONNECTIONS else {}


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


def read_token_key(config: Config, state: Path) -> bytes:
    """Return the key that tokens are verified with: a public key in PEM form or an HS256 secret.

    Empty where the keys come from `auth.jwks_url`.
    """
    if config.auth.jwks_url:
        return b""
    if config.auth.public_key_file:
        return read_secret(Path(config.auth.public_key_file))
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


def master_key_file_of(config: Config, state: Path) -> MasterKeyFile:
    """Return the file that is configured, or that of the state directory, which a first start makes."""
    named = config.signing.master_key_file
    return MasterKeyFile(Path(named) if named else state / "master.key", bool(named))


def _random_text() -> bytes:
    return secrets.token_urlsafe(48).encode()
