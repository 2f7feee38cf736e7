"""Request bodies: read piece by piece within a limit, then parsed strictly."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio
from hypercorn.typing import ASGIReceiveEvent
from pydantic import TypeAdapter, ValidationError
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from api.problems import FieldError, Problem, http_problem, invalid
from daemon.signing.canonical import JSON, Unrepresentable, parse

T = TypeVar("T")

_MOST_ERRORS = 20
_DISCARD = 64 * 1024  # bytes
_DISCARD_TIMEOUT = 0.5  # seconds


class IncomingBody:
    """The body of one request as it arrives; what is not asked for stays with the client."""

    def __init__(self, receive: Callable[[], Awaitable[ASGIReceiveEvent]]) -> None:
        self._receive = receive
        self.complete = False

    async def piece(self) -> bytes:
        """Return the next piece, possibly empty; `complete` tells whether it is the last one.

        Raises a 408 `Problem` when the client has gone or is too slow.
        """
        event = await self._receive()
        if event["type"] != "http.request":
            self.complete = True
            raise http_problem(408)
        self.complete = not event["more_body"]
        return event["body"]

    async def discard(self) -> None:
        """Let go of a short rest, so that the connection can serve another request."""
        left = _DISCARD
        with trio.move_on_after(_DISCARD_TIMEOUT):
            while not self.complete and left > 0:
                try:
                    left -= len(await self.piece())
                except Problem:
                    return


async def read_body(body: IncomingBody, headers: Headers, *, limit: int) -> bytes:
    """Return the whole body; raises a 413 `Problem` as soon as it is known to exceed `limit` bytes."""
    declared = headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while not body.complete:
        piece = await body.piece()
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(body: IncomingBody, headers: Headers, *, limit: int, max_depth: int) -> JSON:
    """Return the body's JSON value.

    Raises a `Problem`: 415 for another media type, 413 as `read_body`, 400 for what is not JSON, and 422 for
    JSON that cannot be kept or sent on (NUL, half a surrogate pair, a number beyond a double, too deep).
    """
    check_media_type(headers)
    return parsed(await read_body(body, headers, limit=limit), max_depth)


async def read_optional_json(body: IncomingBody, headers: Headers, *, limit: int, max_depth: int) -> JSON:
    """Return the body's JSON value as `read_json` does, or an empty object where there is no body."""
    text = await read_body(body, headers, limit=limit)
    if not text:
        return {}
    check_media_type(headers)
    return parsed(text, max_depth)


def parsed(text: bytes, max_depth: int) -> JSON:
    """Return the JSON value of a body; raises a 400 or 422 `Problem` as `read_json` does."""
    try:
        return parse(text, max_depth=max_depth, unique_keys=True)
    except Unrepresentable as error:
        if error.line is not None:
            raise Problem(400, "malformed-json", f"The body is {error.reason}.") from None
        raise invalid([FieldError(error.pointer or "", error.reason)]) from None


def check_media_type(headers: Headers, known: Sequence[str] = ("application/json",)) -> str:
    """Return which of the `known` media types the body is declared as, in UTF-8 and without compression.

    Raises a 415 `Problem` for any other.
    """
    media_type, parameters = parse_options_header(headers.get("Content-Type", ""))
    charset = parameters.get("charset", "utf-8").lower()
    encoding = headers.get("Content-Encoding", "identity").lower()
    if media_type.lower() not in known or charset not in {"utf-8", "utf8"} or encoding != "identity":
        raise http_problem(415, {"Accept": ", ".join(known), "Accept-Encoding": "identity"})
    return media_type.lower()


def validated(adapter: TypeAdapter[T], value: JSON) -> T:
    """Return `value` as what `adapter` describes; raises a 422 `Problem` that names each bad field."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        # The values themselves stay out of the answer: one may be a secret.
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(
            [_field_error(item["loc"], item["type"], item["msg"]) for item in found[:_MOST_ERRORS]]
        ) from None


def pointer(*parts: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of the value that `parts` lead to."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _field_error(location: tuple[str | int, ...], kind: str, message: str) -> FieldError:
    if kind == "missing":
        return FieldError(pointer(*location), "is missing; add it")
    if kind == "extra_forbidden":
        return FieldError(pointer(*location), "is not a known field; leave it out")
    return FieldError(pointer(*location), _lower_first(message.removeprefix("Value error, ")))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "content-too-large",
        f"The body is larger than {limit} bytes; send less at a time, in several requests.",
    )
