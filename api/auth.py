"""Who calls: Bearer tokens (RFC 6750) that are JSON Web Tokens (RFC 7519), checked as RFC 8725 advises."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from api.keys import KeySource, NoSuchKey
from api.known_tokens import KnownTokens
from api.problems import Problem
from daemon.model import Role

logger = logging.getLogger("hookd.api")

_MAX_TOKEN_LENGTH = 8 * 1024
# Header fields that bring or name a key, or change how the token is read; the configuration alone does that.
_REFUSED_FIELDS = ("crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc", "cty")
_REALM = 'Bearer realm="hookd"'


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a good token speaks for."""

    subject: str
    org_id: UUID
    roles: frozenset[str]

    def require(self, *roles: Role) -> None:
        """Raise a 403 `Problem` unless the token has one of `roles`."""
        if self.roles.isdisjoint(roles):
            lacks = f"the role {roles[0]}" if len(roles) == 1 else f"each of the roles {', '.join(roles)}"
            raise Problem(
                403,
                "missing-role",
                f"The token lacks {lacks}; call again with one that has it.",
                headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope"'},
            )


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be like. Empty `issuer` or `audience`: not checked. `leeway` in seconds.

    A claim's name may be a path with dots (`realm_access.roles`); a claim of just that name goes first.
    """

    algorithms: Sequence[str]
    issuer: str = ""
    audience: str = ""
    org_claim: str = "org_id"
    roles_claim: str = "roles"
    leeway: float = 30.0


class Authenticator:
    """Tells from a request's Authorization header who calls."""

    def __init__(self, rules: TokenRules, keys: KeySource, *, now: Callable[[], float]) -> None:
        """`now` gives the database's time in Unix seconds.

        Raises ValueError for algorithms that `keys` cannot serve: no token would ever pass.
        """
        unserved = [algorithm for algorithm in rules.algorithms if not keys.serves(algorithm)]
        if unserved or not rules.algorithms:
            raise ValueError(
                f"auth.algorithms has {', '.join(unserved) or 'nothing'}, which no configured key is for; "
                "HS256 needs secret_file, the others public_key_file or jwks_url with a key of their kind"
            )
        self._rules = rules
        self._keys = keys
        self._now = now
        self._known: KnownTokens[Caller] = KnownTokens(clock=now)

    async def caller(self, authorization: Sequence[str]) -> Caller:
        """Return who calls, given the values of the Authorization header; raises a 401 `Problem`.

        Raises a 503 `Problem` where the keys cannot be had now.
        """
        if not authorization:
            raise _unauthorized("Send a token: Authorization: Bearer …", None)
        if len(authorization) > 1:
            raise _unauthorized("Send one Authorization header, not several.")
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized(
                "Send the token as Authorization: Bearer …; other schemes are not known.", None
            )
        token = token.strip()
        if len(token) > _MAX_TOKEN_LENGTH:
            raise _unauthorized(
                f"The token is longer than {_MAX_TOKEN_LENGTH} bytes; get one with fewer claims."
            )
        keys = self._keys.in_use()
        known = self._known.find(token, keys)
        if known is not None:
            return known
        try:
            claims = await self._claims(token)
            caller = self._caller_of(claims)
            until = float(claims["exp"]) + self._rules.leeway
        except (jwt.PyJWTError, NoSuchKey, ValueError, TypeError, OverflowError, RecursionError) as error:
            why = type(error).__name__
            logger.info("a token was refused: %s", why, extra={"repeats_as": f"refused tokens: {why}"})
            raise _unauthorized(_explanation(error)) from None
        self._known.keep(token, keys, caller, until)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        if token.count(".") != 2:
            raise jwt.DecodeError("not a signed JWT")
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            raise jwt.InvalidAlgorithmError
        if any(name in header for name in _REFUSED_FIELDS):
            raise jwt.DecodeError
        key = await self._keys.key(algorithm, header.get("kid"))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=self._rules.issuer or None,
            audience=self._rules.audience or None,
            options={
                "verify_exp": False,  # PyJWT would go by this machine's clock: see `check_times`
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["exp", "sub", *(["iss"] if self._rules.issuer else [])],
                "verify_aud": bool(self._rules.audience),
                "verify_iss": bool(self._rules.issuer),
            },
        )
        check_times(claims, self._now(), self._rules.leeway)
        return claims

    def _caller_of(self, claims: Mapping[str, Any]) -> Caller:
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise _BadClaim("sub", "a name")
        organisation = _claim(claims, self._rules.org_claim)
        if not isinstance(organisation, str):
            raise _BadClaim(self._rules.org_claim, "the UUID of an organisation")
        try:
            org_id = UUID(organisation)
        except ValueError:
            raise _BadClaim(self._rules.org_claim, "the UUID of an organisation") from None
        return Caller(subject, org_id, self._roles(claims))

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[str]:
        roles = _claim(claims, self._rules.roles_claim)
        if roles is None:
            return frozenset()
        if isinstance(roles, str):
            return frozenset(roles.split())  # as the scope claim is written (RFC 8693 section 4.2)
        if isinstance(roles, list) and all(isinstance(role, str) for role in roles):
            return frozenset(roles)
        raise _BadClaim(self._rules.roles_claim, "a list of role names")


def check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    """Check when a token is good (RFC 7519 section 4.1.4 to 4.1.6); all in Unix seconds.

    Raises `jwt.ExpiredSignatureError`, `jwt.ImmatureSignatureError`, and ValueError, TypeError or
    OverflowError for what is no number.
    """
    if int(claims["exp"]) <= now - leeway:
        raise jwt.ExpiredSignatureError
    for name in ("nbf", "iat"):
        if name in claims and int(claims[name]) > now + leeway:
            raise jwt.ImmatureSignatureError


class _BadClaim(ValueError):
    """A claim that is missing or of the wrong kind."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"The token's claim {name} must be {expected}; get a token that has it.")


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _explanation(error: Exception) -> str:
    """Say what is wrong with a token, as far as its holder may know, and what to do."""
    match error:
        case _BadClaim():
            return str(error)
        case jwt.ExpiredSignatureError():
            return "The token has expired; get a new one."
        case jwt.ImmatureSignatureError():
            return "The token is not valid yet; wait, or correct the issuer's clock."
        case jwt.InvalidAudienceError() | jwt.InvalidIssuerError():
            return "The token is for another service or from another issuer; get one for this service."
        case jwt.MissingRequiredClaimError():
            return f"The token lacks the claim {error.claim}; get a token that has it."
        case jwt.InvalidAlgorithmError() | NoSuchKey() | jwt.InvalidSignatureError():
            return "The token is not signed with a key that this service knows; get one from its issuer."
    return "The token cannot be read; get a new one from its issuer and send it unchanged."


def _unauthorized(detail: str, error: str | None = "invalid_token") -> Problem:
    # No error code where no token was sent (RFC 6750 section 3.1).
    challenge = _REALM if error is None else f'{_REALM}, error="{error}"'
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
