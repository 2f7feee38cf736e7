"""`hookd token`: an HS256 token for the REST API."""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import jwt

from api.keys import SecretKey
from daemon.cli.arguments import duration, organisation
from daemon.cli.failure import OK, CommandError
from daemon.cli.settings import load_settings, log_for_people
from daemon.config.sections.auth import AuthConfig
from daemon.model import Role
from daemon.process.startup import prepare_state, token_secret

SUBJECT = "hookd-cli"
_TTL = 3600.0
_SCOPES = ("scope", "scp")

_DESCRIPTION = """
Print one token for the REST API, signed with the daemon's own HS256 secret, and nothing
else on standard output. It has the issuer, the audience and the claims that [auth] asks
for. Where tokens come from another issuer (auth.public_key_file, auth.jwks_url), get
them there. It begins and ends by this machine's clock, and the daemon goes by Postgres':
if it says that the token has expired or is not valid yet, correct the clock here.

Roles:
  org_admin   registers and changes the organisation's subscriptions
  publisher   publishes events of the organisation
  platform    publishes events of any organisation
"""
_EPILOG = """
Examples:
  hookd token --org 018f6d1e-6a00-7000-8000-000000000001 --role org_admin
  curl http://127.0.0.1:8080/webhooks/ -H "Authorization: Bearer $(
    hookd token --org $ORG --role org_admin publisher --ttl 5m)"

Exit codes:
  0  the token is on standard output
  1  there is no secret to sign with; standard error says what to do
  2  wrong usage or configuration
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "token", help="print a token for the REST API", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "--org", metavar="UUID", type=organisation, required=True, help="the organisation it speaks for"
    )
    parser.add_argument(
        "--role",
        metavar="ROLE",
        nargs="+",
        action="extend",
        choices=[role.value for role in Role],
        required=True,
        help="what it may do: one or more of the roles above",
    )
    parser.add_argument(
        "--ttl", metavar="DURATION", type=duration, default=_TTL, help="how long it is good for (default: 1h)"
    )
    parser.add_argument(
        "--sub", metavar="NAME", default=SUBJECT, help=f"whose it is, for the logs (default: {SUBJECT})"
    )


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
