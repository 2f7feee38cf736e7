"""Every file that the configuration leads to, opened as a start opens it: so all faults are told at once.

What opens files that few configurations name is imported where one does: `check-config` is to answer at once.
"""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from daemon.config.database_url import parameters
from daemon.config.load import Loaded
from daemon.config.model import Config
from daemon.config.secret_file import SecretMissing, read_password, read_secret
from daemon.config.sections.egress import EgressConfig
from daemon.config.state import StateError, state_directory
from daemon.egress.source import check_sources
from daemon.explained_error import ExplainedError
from daemon.process.master_key_file import master_key_file
from daemon.process.token_keys import key_source

CREDENTIALS = Path("/run/credentials")
_FAULTS = (ExplainedError, ValueError)


@dataclass(frozen=True, slots=True)
class _Opening:
    """`open` reads what `key` names, at `path`, and raises one of `_FAULTS` where that is of no use."""

    key: str
    path: Path
    open: Callable[[], object]


def file_problems(loaded: Loaded, *, unseen: Callable[[Path], None] | None = None) -> list[str]:
    """Return a line for each file that cannot be used: where it is named, what is wrong and what to do.

    `unseen`, for a check beside the daemon, hears of credentials that systemd shows to the daemon alone.
    """
    problems = []
    for one in (*_named(loaded.config), *_made(loaded.config)):
        if unseen is not None and _is_hidden(one.path):
            unseen(one.path)
            continue
        try:
            one.open()
        except _FAULTS as error:
            said = str(error)
            key = "" if said.startswith(one.key) else f"{one.key}: "
            problems.append(f"{loaded.origins[one.key]}: {key}{said}")
    return problems


def contents(config: Config) -> dict[str, bytes]:
    """Return a digest of each file that is read at a start alone, by the key that stands for it."""
    auth, master = config.auth, master_key_file(config, state_directory(config.state.directory))
    paths = {
        "auth.secret_file": auth.secret_file,
        "auth.public_key_file": auth.public_key_file,
        "database.password_file": config.database.password_file,
        "egress.ca_file": config.egress.ca_file,
        "egress.proxy_credentials_file": config.egress.proxy_credentials_file,
        "signing.master_key_file": str(master.path),
    }
    return {key: _digest(Path(path)) for key, path in paths.items() if path}


def _digest(path: Path) -> bytes:
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def _named(config: Config) -> Iterator[_Opening]:
    auth, database, egress = config.auth, config.database, config.egress
    if auth.public_key_file:
        public = Path(auth.public_key_file)
        yield _Opening(
            "auth.public_key_file", public, lambda: key_source(config, read_secret(public, private=False))
        )
    if auth.secret_file:
        secret = Path(auth.secret_file)
        yield _Opening("auth.secret_file", secret, lambda: key_source(config, read_secret(secret)))
    if auth.jwks_url:
        # Without the files of [egress], which are opened by themselves.
        bare = egress.model_copy(update={"ca_file": "", "proxy_credentials_file": ""})
        plain = config.model_copy(update={"egress": bare})
        yield _Opening("auth.jwks_url", Path(), partial(_make_fetch, plain))
    if database.password_file:
        password = Path(database.password_file)
        yield _Opening("database.password_file", password, lambda: read_password(password))
    if database.url:
        yield _Opening("database.url", Path(), lambda: _open_tls_files(database.url))
    if egress.ca_file:
        yield _Opening("egress.ca_file", Path(egress.ca_file), partial(_load_authorities, egress))
    if egress.proxy_credentials_file:
        credentials = Path(egress.proxy_credentials_file)
        yield _Opening("egress.proxy_credentials_file", credentials, partial(_read_proxy_credentials, egress))
    if egress.source_address:
        yield _Opening("egress.source_address", Path(), lambda: check_sources(egress.source_address))
    for event_type, name in config.events.schemas.items():
        yield _Opening("events.schemas", Path(name), partial(_load_schema, event_type, name))
    if config.signing.master_key_file:
        key_file = master_key_file(config, Path())
        yield _Opening("signing.master_key_file", key_file.path, key_file.read)


def _made(config: Config) -> Iterator[_Opening]:
    """Give what a first start makes, as far as it is there."""
    key = "state.directory"
    try:
        state = state_directory(config.state.directory)
    except StateError as error:
        yield _Opening(key, Path(), partial(_raise, error))
        return
    auth = config.auth
    if not (auth.public_key_file or auth.secret_file or auth.jwks_url):
        yield _Opening(key, state, partial(_read_if_there, state / "token.secret", config))
    if not config.signing.master_key_file:
        yield _Opening(key, state, master_key_file(config, state).read)


def _read_if_there(path: Path, config: Config) -> None:
    try:
        secret = read_secret(path)
    except SecretMissing:
        return
    key_source(config, secret)


def _make_fetch(config: Config) -> None:
    from daemon.process.issuer import key_set_fetch

    key_set_fetch(config)


def _load_authorities(egress: EgressConfig) -> None:
    from daemon.egress.tls import client_context

    client_context(egress.ca_file)


def _read_proxy_credentials(egress: EgressConfig) -> None:
    from daemon.process.outgoing_proxy import proxy_credentials

    proxy_credentials(egress)


def _load_schema(event_type: str, name: str) -> None:
    from daemon.schemas import load_schemas

    load_schemas({event_type: name})


def _raise(error: Exception) -> None:
    raise error


def _open_tls_files(url: str) -> None:
    """Load what the URL names for TLS, as asyncpg does when it connects. Error: ValueError."""
    named = parameters(url)
    mode = named.get("sslmode", "prefer")
    if mode == "disable":
        return
    if mode.startswith("verify-") and not _has_root(named):
        raise ValueError(f"has sslmode={mode} and no authority to verify by: add sslrootcert=PATH to it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("sslrootcert", "sslcrl"):
        if name in named:
            _load(name, named[name], partial(context.load_verify_locations, cafile=named[name]))
    if "sslcert" in named:
        certificate, key, password = named["sslcert"], named.get("sslkey"), named.get("sslpassword", "")
        _load("sslcert", certificate, partial(context.load_cert_chain, certificate, key, password))


def _has_root(named: Mapping[str, str]) -> bool:
    usual = Path(os.environ.get("HOME", "/nonexistent"), ".postgresql", "root.crt")
    return "sslrootcert" in named or "PGSSLROOTCERT" in os.environ or os.path.isfile(usual)


def _load(name: str, path: str, load: Callable[[], object]) -> None:
    try:
        load()
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"has {name}={path}, which cannot be used ({reason}): name a PEM file that hookd may read"
        ) from None


def _is_hidden(path: Path) -> bool:
    """Tell whether `path` is a credential of another unit, or of ours in the namespace of ExecReload.

    https://github.com/systemd/systemd/issues/35227: in front of 258, ExecReload does not see them.
    """
    return path.is_relative_to(CREDENTIALS) and not os.access(path.parent, os.X_OK)
