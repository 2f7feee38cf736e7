"""A subscription's signing secrets: given a new one, and the previous one ended."""

from collections.abc import Iterator
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, WithJsonSchema
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.commits import finish
from api.etags import requested_revisions
from api.json_request import json_request
from api.problems import FieldError, Problem, invalid, not_found
from api.quart_app import json_response, no_content
from api.secret_fields import SecretField, SignatureField, check_secret, new_secret, secret_warnings
from api.services import Services
from daemon.config.durations import DURATION_FORM, format_duration, parse_duration
from daemon.model import Role
from daemon.rfc3339 import rfc3339
from daemon.signing.secrets import PrivateKey, parse_secret
from daemon.store.subscriptions import TooManySecrets

_MAX_BODY = 4 * 1024  # bytes
_MAX_DEPTH = 4
_FOREVER = 10**9  # seconds
_DURATION = "^([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"is not {DURATION_FORM}, or a number of seconds")
    seconds = parse_duration(value) if isinstance(value, str) else value
    if seconds < 0:
        raise ValueError("is below 0; 0 ends the previous secret at once")
    return float(min(seconds, _FOREVER))  # an integer of JSON may be larger than any float


_Overlap = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "description": "How long the previous secret still signs: seconds, or a duration such as `12h` or"
            " `1h30m`. 0 ends it at once. Left out: as long as the operator chose"
            " (`signing.secret_overlap`); at most `signing.secret_overlap_max`.",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "minLength": 2, "pattern": _DURATION},
            ],
        }
    ),
]


class Rotation(BaseModel):
    """The new secret, unless one is to be made, and how long the previous one goes on."""

    model_config = ConfigDict(strict=True, extra="forbid")

    secret: SecretField | None = None
    signature: SignatureField | None = None
    overlap: _Overlap | None = None


_ROTATION = TypeAdapter(Rotation)


def blueprint(services: Services) -> Blueprint:
    """Return the routes of secrets under /webhooks/{subscription_id}."""
    routes = Blueprint("signing_secrets", __name__, url_prefix="/webhooks/<uuid:subscription_id>")
    secrets = SigningSecrets(services)
    routes.post("/rotate-secret")(secrets.rotate)
    routes.delete("/previous-secret")(secrets.end_previous)
    return routes


class SigningSecrets:
    """What may be asked of a subscription's secrets."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.subscriptions

    async def rotate(self, subscription_id: UUID) -> Response:
        """Sign with a new secret; one that was made here is told now and never again."""
        services = self._services
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = await json_request(_ROTATION, limit=_MAX_BODY, max_depth=_MAX_DEPTH, optional=True)
        settings, revisions = services.settings(), requested_revisions()
        overlap = settings.secret_overlap if wanted.overlap is None else wanted.overlap
        if errors := list(_errors(wanted, settings.longest_secret_overlap)):
            raise invalid(errors)
        secret = wanted.secret
        if secret is None:
            secret = new_secret(wanted.signature or await self._kind_of(caller.org_id, subscription_id))
        work = self._store.rotate(caller.org_id, subscription_id, secret, overlap, revisions=revisions)
        try:
            until = await finish(services, work)
        except TooManySecrets:
            raise _too_many_secrets() from None
        if until is None:
            raise not_found("subscription")
        key = parse_secret(secret)
        answer = {"public_key": key.public} if isinstance(key, PrivateKey) else {"secret": secret}
        answer["previous_expires_at"] = rfc3339(until, milliseconds=False)
        return json_response(answer | secret_warnings(wanted.secret))

    async def end_previous(self, subscription_id: UUID) -> Response:
        """Sign with the newest secret alone."""
        caller = await caller_of(self._services, Role.ORG_ADMIN)
        revisions = requested_revisions()
        work = self._store.end_previous_secrets(caller.org_id, subscription_id, revisions=revisions)
        if not await finish(self._services, work):
            raise not_found("subscription")
        return no_content(204)

    async def _kind_of(self, org_id: UUID, subscription_id: UUID) -> str | None:
        """Return the kind of signature that a subscription makes now."""
        found = await self._store.get(org_id, subscription_id)
        return None if found is None or found.public_key is None else "ed25519"


def _errors(wanted: Rotation, longest: float) -> Iterator[FieldError]:
    yield from check_secret(wanted.secret, wanted.signature)
    if wanted.overlap is not None and wanted.overlap > longest:
        yield FieldError("/overlap", f"must be at most {format_duration(longest)}")


def _too_many_secrets() -> Problem:
    return Problem(
        409,
        "too-many-secrets",
        "Several rotated secrets still sign for this subscription; wait until they expire, or end them with"
        " DELETE …/previous-secret, then rotate.",
    )
