"""`[auth]`: bearer tokens."""

from typing import Annotated, Literal, Self

from pydantic import model_validator

from daemon.config import checks
from daemon.config.kinds import Choice, Duration, Text
from daemon.config.sections.base import (
    AT_LEAST_ONE,
    MINUTE,
    ConfigConflict,
    Network,
    PathText,
    Section,
    refuse_repeated,
)

_Algorithm = Annotated[
    Literal["HS256", "RS256", "ES256", "EdDSA"], Choice("HS256", "RS256", "ES256", "EdDSA")
]


class AuthConfig(Section):
    """`[auth]`: bearer tokens."""

    algorithms: Annotated[tuple[_Algorithm, ...], AT_LEAST_ONE] = ("HS256",)
    """Signature algorithms that are accepted."""
    secret_file: PathText = ""
    """File with the HS256 secret; "": made on first start in the state directory."""
    public_key_file: PathText = ""
    """PEM file with the public key of whoever issues tokens."""
    jwks_url: Annotated[str, Text(checks.jwks_url)] = ""
    """URL of the issuer's key set (RFC 7517): https, or http on this machine, whatever [egress] says."""
    jwks_allow_networks: tuple[Network, ...] = ()
    """Networks that the key set may be read from although they are private or special. An allowance of its
    own: subscriptions' URLs get nothing from it, and it gets nothing from `[egress]`."""
    jwks_refresh: Annotated[float, Duration("1m", "30d")] = 10 * MINUTE
    """Seconds after which the key set is read again, when a token comes; for an unknown key sooner."""
    issuer: Annotated[str, Text()] = ""
    """Required `iss`; "": not checked."""
    audience: Annotated[str, Text()] = ""
    """Required `aud`; "": not checked."""
    org_claim: Annotated[str, Text(checks.not_empty)] = "org_id"
    """Claim with the organisation's UUID."""
    roles_claim: Annotated[str, Text(checks.not_empty)] = "roles"
    """Claim with the list of roles."""
    leeway: Annotated[float, Duration("0s", "10m")] = 30.0
    """Seconds that clocks may differ when `exp`, `nbf` and `iat` are checked."""

    @model_validator(mode="after")
    def _keys_fit_algorithms(self) -> Self:
        given = [key for key in ("secret_file", "public_key_file", "jwks_url") if getattr(self, key)]
        if len(given) > 1:
            raise ConfigConflict(
                given[1], f"cannot be set beside auth.{given[0]}: keep one and empty the other"
            )
        refuse_repeated("algorithms", self.algorithms)
        # A public key accepted as an HS256 secret lets anybody sign (RFC 8725 section 2.1).
        if "HS256" in self.algorithms and given in (["public_key_file"], ["jwks_url"]):
            raise ConfigConflict("algorithms", f'cannot have "HS256" with auth.{given[0]}: leave it out')
        asymmetric = [name for name in self.algorithms if name != "HS256"]
        if asymmetric and given in ([], ["secret_file"]):
            raise ConfigConflict(
                "algorithms",
                f'cannot have "{asymmetric[0]}" without the issuer\'s keys: '
                "set auth.public_key_file or auth.jwks_url instead of a secret",
            )
        return self
