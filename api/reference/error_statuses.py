"""The errors that operations may answer with: when each status comes, and a problem that has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Told:
    """When a status comes, and the kind, the detail and the bad values of one problem that has it."""

    when: str
    kind: str
    detail: str
    errors: tuple[Mapping[str, str], ...] = ()
    headers: tuple[str, ...] = field(default=())


PROBLEMS: Mapping[int, Told] = {
    400: Told(
        "The request is malformed: its JSON, its query or its cursor.",
        "malformed-json",
        "The body is not JSON: a comma or the end of the object is missing (line 1, column 18).",
    ),
    401: Told(
        "There is no token, or it is not good: expired, of another issuer, badly signed.",
        "unauthorized",
        "The token has expired; get a new one.",
        headers=("WWW-Authenticate",),
    ),
    403: Told(
        "The token lacks a role that the operation asks for.",
        "missing-role",
        "The token lacks the role org_admin; call again with one that has it.",
        headers=("WWW-Authenticate",),
    ),
    404: Told(
        "Your organisation has no such thing; what belongs to another looks the same.",
        "not-found",
        "Your organisation has no such subscription; list them to see their ids.",
    ),
    408: Told(
        "The request did not arrive complete in time.",
        "request-timeout",
        "The request did not arrive complete in time; send it again, without pauses.",
    ),
    409: Told(
        "The request does not fit the state of things.",
        "too-many-subscriptions",
        "Your organisation has 10000 subscriptions, the most allowed; delete one first, "
        "or ask the operator to raise api.subscriptions_per_organisation.",
    ),
    412: Told(
        "Somebody has changed it since you read it: `If-Match` does not match its `ETag`.",
        "changed-meanwhile",
        "Somebody changed the subscription since you read it; read it again and send your change with the "
        "new ETag in If-Match.",
    ),
    413: Told(
        "The body is too large.",
        "content-too-large",
        "The body is larger than 65536 bytes; send less at a time, in several requests.",
    ),
    415: Told(
        "The body is not of a media type that the operation takes.",
        "unsupported-media-type",
        "Send JSON with Content-Type: application/json and no Content-Encoding.",
    ),
    422: Told(
        "The body is well-formed, but some of its values will not do: `errors` names each.",
        "invalid-fields",
        "Correct what `errors` names and send the request again.",
        errors=(
            {"pointer": "/url", "detail": "The URL must begin with https://."},
            {
                "pointer": "/filter",
                "detail": "at character 8 (`abs`): there are no functions but .size() and .type(); "
                "leave it out",
            },
        ),
    ),
    429: Told(
        "Your organisation has made too many requests, or has too many bytes of them under way.",
        "too-many-requests",
        "Your organisation may make 50 requests a second; wait for the seconds in Retry-After and spread the "
        "requests, or publish several events in one.",
        headers=("Retry-After",),
    ),
    503: Told(
        "The server cannot do it now, for instance because its database is away.",
        "unavailable",
        "The database cannot be reached, or went away during the request; send the request again after the "
        "seconds in Retry-After. An event with a key is then not published twice.",
        headers=("Retry-After",),
    ),
}
