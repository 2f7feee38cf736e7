"""`hookd token`: an HS256 token for the REST API."""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import jwt

from api.keys import SecretKey
from daemon.cli.failure import OK, CommandError
from daemon.cli.parsers.token import SUBJECT
from daemon.cli.settings import load_settings, log_for_people
from daemon.config.sections.auth import AuthConfig
from daemon.process.state import prepare_state
from daemon.process.token_secret import token_secret

_SCOPES = ("scope", "scp")


def run(args: argparse.Namespace) -> int:
    """Print the token; return the exit code."""
    config = load_settings(args).config
    log_for_people(config.logging)
    secret = token_secret(config, prepare_state(config))
    print(mint(config.auth, secret, org=args.org, roles=args.role, ttl=args.ttl, subject=args.sub))
    return OK


def mint(
    auth: AuthConfig, secret: bytes, *, org: UUID, roles: Sequence[str], ttl: float, subject: str = SUBJECT
) -> str:
    """Return a token (RFC 7519) that a daemon with this configuration and secret accepts for `ttl` seconds.

    Error: `CommandError` if the secret is too short or the two claims' names exclude each other.
    """
    try:
        key = SecretKey(secret)
    except ValueError as error:
        raise CommandError(str(error)) from None
    now = time.time()
    claims: dict[str, Any] = {"sub": subject, "iat": int(now), "exp": math.ceil(now + ttl)}
    if auth.issuer:
        claims["iss"] = auth.issuer
    if auth.audience:
        claims["aud"] = auth.audience
    distinct = list(dict.fromkeys(roles))
    # The scope claim is one text (RFC 8693 section 4.2).
    is_scope = auth.roles_claim.rpartition(".")[2] in _SCOPES
    _put(claims, auth.roles_claim, " ".join(distinct) if is_scope else distinct)
    _put(claims, auth.org_claim, str(org))
    return jwt.encode(claims, key.secret, "HS256")


def _put(claims: dict[str, Any], name: str, value: str | list[str]) -> None:
    """Set a claim; dots in its name lead into nested objects, but for names that are URLs."""
    *parents, last = [name] if "://" in name else name.split(".")
    place = claims
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise CommandError(
                f"auth.org_claim and auth.roles_claim exclude each other at {name!r}: correct them in [auth]"
            )
    place[last] = value
