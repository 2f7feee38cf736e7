"""The configuration that `hookd dev` runs with: the operator's, but on its own and for one machine."""

import argparse
from dataclasses import replace
from pathlib import Path

import trio

from api.listeners import CannotListen, open_listeners
from daemon.cli.settings import load_settings
from daemon.config.bind import TcpBind, parse_bind
from daemon.config.load import Loaded
from daemon.config.state import StateError, make_state_directory, state_directory
from daemon.config.toml_text import toml_value
from daemon.process.startup import Prepared
from daemon.process.state import StartError

_LOOPBACK = ("127.0.0.0/8", "::1/128")

# Overruled by --set.
_QUICK = (
    'delivery.retry_schedule=["1s", "2s", "3s"]',
    "daemon.stop_timeout=5s",
)
# Overrule --set: what makes it independent of every other hookd, and lets it reach its own receiver.
_OWN = (
    "database.url=",
    "database.password_file=",
    "database.schema=hookd",
    'auth.algorithms=["HS256"]',
    "auth.secret_file=",
    "auth.public_key_file=",
    "auth.jwks_url=",
    "signing.master_key_file=",
    "metrics.bind=",
    "egress.https_only=false",
    "egress.deny_networks=[]",
    "egress.ports=[]",
)


def dev_settings(args: argparse.Namespace) -> tuple[Loaded, Path]:
    """Return the configuration and the state directory of a run. Errors: `ConfigError`, `StartError`."""
    given = load_settings(args, here=True).config
    try:
        state = make_state_directory(state_directory(given.state.directory)) / "dev"
    except StateError as error:
        raise StartError(str(error)) from error
    quick = [*_QUICK] if args.verbose else [*_QUICK, "logging.level=warning"]
    networks = [*given.egress.allow_networks, *_LOOPBACK]
    own = [
        *_OWN,
        f"egress.allow_networks={toml_value(networks)}",
        f"state.directory={toml_value(str(state))}",
    ]
    return load_settings(args, quick, own, here=True), state


def on_free_port(preparation: Prepared) -> Prepared:
    """Return the same start with an address that can be listened on now."""
    config = preparation.config
    api = config.api.model_copy(update={"bind": free_bind(config.api.bind)})
    loaded = replace(preparation.loaded, config=config.model_copy(update={"api": api}))
    return replace(preparation, loaded=loaded)


def free_bind(bind: str) -> str:
    """Return `bind`, or a free port on its host if it cannot be listened on; Unix sockets become TCP."""
    address = parse_bind(bind)
    if not isinstance(address, TcpBind):
        return "127.0.0.1:0"
    for candidate in (address, TcpBind(address.host, 0)):
        if _can_listen(str(candidate)):
            return str(candidate)
    return "127.0.0.1:0"


def _can_listen(bind: str) -> bool:
    async def attempt() -> None:
        (await open_listeners(bind)).close()

    try:
        trio.run(attempt)
    except CannotListen:
        return False
    return True
