"""What a client may say of a subscription's signing secret, and what it is told of it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from api.problems import FieldError
from daemon.signing.secrets import (
    PrivateKey,
    check_new_secret,
    generate_private_key,
    generate_secret,
    parse_secret,
)

_SHARED, _ED25519 = "hmac-sha256", "ed25519"
SecretField = Annotated[
    str,
    Field(
        description="Better left out: then one is made and shown once. Your own is `whsec_` and the base64 "
        "of 24 to 64 bytes, or `whsk_` for Ed25519. Any other 8 to 256 printable ASCII characters after "
        "`whsec_` are taken, too, with a warning; blanks around it and base64url are not.",
        json_schema_extra={
            "pattern": "^(whsec_[!-~][ -~]{6,254}[!-~]|whsk_[A-Za-z0-9+/]{43}([A-Za-z0-9+/]{43})?=*)$"
        },
    ),
]
SignatureField = Annotated[
    Literal["hmac-sha256", "ed25519"],
    Field(
        description="`ed25519` makes a pair of keys, of which hookd keeps the private half: receivers verify "
        "with `public_key`, which is no secret. `hmac-sha256`, the usual, makes a secret that both have."
    ),
]


def check_secret(secret: str | None, signature: str | None) -> Iterator[FieldError]:
    """Give what is wrong with a secret, if anything, and with the signature that is wanted besides."""
    if secret is None:
        return
    try:
        check_new_secret(secret)
    except ValueError as error:
        yield FieldError("/secret", str(error))
    else:
        if signature not in (None, signature_of(secret)):
            yield FieldError(
                "/signature",
                f"does not fit the secret, which signs as {signature_of(secret)}; leave one of them out",
            )


def signature_of(secret: str) -> str:
    """Return the kind of signature that a good secret makes, as clients name it."""
    return _ED25519 if isinstance(parse_secret(secret), PrivateKey) else _SHARED


def new_secret(signature: str | None) -> str:
    """Return a new secret for a kind of signature."""
    return generate_private_key() if signature == _ED25519 else generate_secret()


def secret_warnings(secret: str | None) -> dict[str, Any]:
    """Return what an answer tells besides of a secret that was accepted and is not as the standard has it."""
    found = [] if secret is None else check_new_secret(secret)
    return {"warnings": [{"pointer": "/secret", "detail": detail} for detail in found]} if found else {}
