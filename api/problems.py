"""Errors as the API tells them: `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daemon.store.failure import DatabaseBusy, DatabaseReadOnly, DatabaseRefused, DatabaseUnavailable

CONTENT_TYPE = "application/problem+json"
_TYPE = "urn:hookd:problem:"
_MAX_POINTER_LENGTH = 1000  # characters

#: How an error that the HTTP layer found is called and what to do about it, by status (RFC 9110 section 15).
_HTTP: Mapping[int, tuple[str, str]] = {
    400: ("bad-request", "The request is not valid HTTP/1.1; correct it and send it again."),
    404: ("not-found", "Nothing is at this path; correct it: GET /docs lists them."),
    405: ("method-not-allowed", "This path does not know the method; the Allow header lists those it knows."),
    408: ("request-timeout", "The request did not arrive complete in time; send it again, without pauses."),
    413: ("content-too-large", "The request is too large; send less at a time."),
    415: ("unsupported-media-type", "Send JSON with Content-Type: application/json and no Content-Encoding."),
    431: ("header-fields-too-large", "The target or header fields are too long; send fewer or shorter ones."),
    500: (
        "internal-error",
        "This is a fault of the server; send the request again later, and report the request_id if it stays.",
    ),
    501: ("not-implemented", "Send the body with Content-Length or with Transfer-Encoding: chunked."),
    503: ("busy", "The server has no room; send the request again after the seconds in Retry-After."),
    505: ("http-version-not-supported", "Use HTTP/1.1."),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one value of the request: its JSON Pointer (RFC 6901) and what to do about it."""

    pointer: str
    detail: str


@dataclass(eq=False)
class Problem(Exception):
    """An error for the client. `kind` ends the `type` URI; every `detail` says what to do next.

    `members` are further ones of the document (RFC 9457 section 3.2).
    """

    status: int
    kind: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the members of the problem document (RFC 9457 section 3.1)."""
        document: dict[str, Any] = {
            "type": _TYPE + self.kind,
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [
                {"pointer": _bounded(error.pointer), "detail": error.detail} for error in self.errors
            ]
        return {**document, **self.members}

    def body(self, request_id: str) -> bytes:
        """Return the document as JSON text."""
        return json.dumps(self.document(request_id), separators=(",", ":")).encode()


def _bounded(pointer: str) -> str:
    """Return a pointer, or that of the innermost value around it that is not too long to tell."""
    if len(pointer) <= _MAX_POINTER_LENGTH:
        return pointer
    return pointer[: _MAX_POINTER_LENGTH + 1].rpartition("/")[0]


def http_problem(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for a status that the HTTP layer, not a handler, decided on."""
    kind, detail = _HTTP.get(status, ("http-error", "Correct the request and send it again."))
    return Problem(status, kind, detail, headers=headers or {})


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Return the 422 for well-formed JSON with values that do not do."""
    return Problem(422, "invalid-fields", "Correct what `errors` names and send the request again.", errors)


def not_found(what: str) -> Problem:
    """Return the 404 for a thing that does not exist or is another organisation's: the two look the same."""
    return Problem(404, "not-found", f"Your organisation has no such {what}; list them to see their ids.")


def no_database(error: DatabaseUnavailable) -> Problem:
    """Return the 503 for a database that cannot serve now: the kind of fault, whose words are for the log."""
    match error:
        case DatabaseReadOnly():
            what = "The database is read-only now (it is a standby, or was set so) and takes no writes"
        case DatabaseBusy():
            what = "The database has no room now: its connections, memory or disk are used up"
        case DatabaseRefused():
            what = "The database does not let the server do this now; the server's log says why"
        case _:
            what = "The database cannot be reached, or went away during the request"
    return unavailable(
        f"{what}; send the request again after the seconds in Retry-After. An event with a key is then not"
        " published twice."
    )


def unavailable(detail: str, retry_after: int = 5) -> Problem:
    """Return the 503 for what should work again in `retry_after` seconds."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(retry_after)})
