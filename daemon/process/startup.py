"""What must stand before the daemon starts: the state directory, the secrets, a Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.config.database_url import with_password
from daemon.config.load import ConfigError, Loaded
from daemon.config.model import Config
from daemon.config.secret_file import SecretFileError, read_password
from daemon.process.child import Child
from daemon.process.master_key_file import MasterKeyFile, master_key_file
from daemon.process.named_files import file_problems
from daemon.process.state import StartError, prepare_state
from daemon.process.token_secret import read_token_key
from daemon.store.database import OWN_CONNECTIONS
from daemon.store.embedded import Embedded, EmbeddedError

_USUAL_CONNECTIONS = 100
_OTHER_CONNECTIONS = 20  # commands, people, and those that Postgres keeps for superusers


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
    """Prepare a start; afterwards stop the embedded Postgres if nobody else uses it.

    Errors: `ConfigError` with every file that cannot be used, `StartError`.
    """
    config = loaded.config
    state = prepare_state(config)
    problems = file_problems(loaded)
    if problems:
        raise ConfigError(problems)
    try:
        token_key = read_token_key(config, state)
    except SecretFileError as error:
        raise StartError(str(error)) from error
    with postgres(config, state) as (url, embedded):
        yield Prepared(loaded, state, url, master_key_file(config, state), token_key, embedded, child)


@contextmanager
def database_url(config: Config, state: Path) -> Iterator[str]:
    """Give the URL of the Postgres to use, for as long as the block lasts. Error: `StartError`."""
    with postgres(config, state) as (url, _):
        yield url


@contextmanager
def postgres(config: Config, state: Path) -> Iterator[tuple[str, Embedded | None]]:
    """Give the URL of the configured Postgres, or of the embedded one and that. Error: `StartError`."""
    if config.database.url:
        yield _with_password(config), None
        return
    try:
        server = Embedded(state, _server_settings(config))
    except EmbeddedError as error:
        raise StartError(str(error)) from error
    try:
        yield server.url, server
    finally:
        server.close()


def _with_password(config: Config) -> str:
    url, file = config.database.url, config.database.password_file
    try:
        return with_password(url, read_password(Path(file))) if file else url
    except SecretFileError as error:
        raise StartError(str(error)) from error


def _server_settings(config: Config) -> dict[str, str]:
    """Return what the embedded server must have beside its usual settings: room for all connections."""
    each = config.database.pool_size + OWN_CONNECTIONS
    needed = config.daemon.processes * each + _OTHER_CONNECTIONS
    return {"max_connections": str(needed)} if needed > _USUAL_CONNECTIONS else {}
