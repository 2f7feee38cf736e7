"""The arguments of `hookd token`, and its help."""

import argparse

from daemon.cli.arguments import duration, organisation
from daemon.model import Role

SUBJECT = "hookd-cli"
_TTL = 3600.0

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
