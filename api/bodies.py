"""Request bodies: read piece by piece within a limit, then parsed strictly."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio
from hypercorn.typing import ASGIReceiveEvent
from pydantic import TypeAdapter, ValidationError
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from api.bytes_in_hand import Holding
from api.problems import FieldError, Problem, http_problem, invalid
from daemon.signing.canonical import JSON, Unrepresentable, parse

T = TypeVar("T")

SMALL = 16 * 1024
"""Bytes of a body that is read whatever others hold: no more than a connection takes by itself."""
_MAX_ERRORS = 20
_MAX_MEMBERS = 1000
_DISCARD = 64 * 1024  # bytes
_DISCARD_TIMEOUT = 0.5  # seconds


class IncomingBody:
    """The body of one request as it arrives; what is not asked for stays with the client.

    `declared`: how many bytes it has, where that is told. `holding` counts what is held of it.
    """

    def __init__(
        self, receive: Callable[[], Awaitable[ASGIReceiveEvent]], declared: int | None = None
    ) -> None:
        self._receive = receive
        self.complete = False
        self.read = 0
        """Bytes so far."""
        self.declared = declared
        self.withheld = False
        """Whether the client keeps it back until it is asked for (`Expect: 100-continue`)."""
        self.holding: Holding | None = None

    def hold(self, size: int, *, beyond_share: bool = False) -> None:
        """Count at least `size` bytes as held; raises a 429 or 503 `Problem` where they do not fit."""
        if self.holding is not None and size > SMALL:
            self.holding.check_refused()
            self.holding.grow_to(size, beyond_share=beyond_share)

    def hold_instead(self, size: int) -> None:
        """Count what is held now that the body is not any more; raises as `hold`."""
        if self.holding is not None:
            self.holding.shrink_to(size)
            if size > SMALL:
                self.holding.grow_to(size)

    def came_to_nothing(self) -> None:
        """Count what was read of a body that is refused."""
        if self.holding is not None and self.read > SMALL:
            self.holding.count_refused(self.read)

    def hold_nothing(self) -> None:
        """Give back what is held."""
        if self.holding is not None:
            self.holding.shrink_to(0)

    async def piece(self) -> bytes:
        """Return the next piece, possibly empty; `complete` tells whether it is the last one.

        Raises a 408 `Problem` when the client has gone or is too slow.
        """
        self.withheld = False
        event = await self._receive()
        if event["type"] != "http.request":
            self.complete = True
            raise http_problem(408)
        self.complete = not event["more_body"]
        self.read += len(event["body"])
        return event["body"]

    async def discard(self) -> None:
        """Let go of a short rest, so that the connection can serve another request."""
        left = _DISCARD
        if self.withheld or (self.declared is not None and self.declared > left):
            return
        with trio.move_on_after(_DISCARD_TIMEOUT):
            while not self.complete and left > 0:
                try:
                    left -= len(await self.piece())
                except Problem:
                    return


async def read_body(body: IncomingBody, *, limit: int) -> bytes:
    """Return the whole body.

    Raises a `Problem`, before the body is read where its length is told: 413 for more than `limit` bytes, 429
    or 503 where so much does not fit beside what others hold.
    """
    size = body.declared or 0
    if size > limit:
        raise _too_large(limit)
    body.hold(size)
    text = bytearray()  # a list of pieces would take many times as much where each is a byte
    while not body.complete:
        piece = await body.piece()
        if len(text) + len(piece) > limit:
            raise _too_large(limit)
        body.hold(len(text) + len(piece))
        text += piece
    return bytes(text)


async def read_json(body: IncomingBody, headers: Headers, *, limit: int, max_depth: int) -> JSON:
    """Return the body's JSON value.

    Raises a `Problem`: 415 for another media type, as `read_body`, 400 for what is not JSON, and 422 for JSON
    that cannot be kept or sent on (NUL, half a surrogate pair, a number beyond a double, too deep, too many
    values).
    """
    check_media_type(headers)
    return parsed(await read_body(body, limit=limit), max_depth, _MAX_MEMBERS)


async def read_optional_json(body: IncomingBody, headers: Headers, *, limit: int, max_depth: int) -> JSON:
    """Return the body's JSON value as `read_json` does, or an empty object where there is no body.

    null is none: clients that OpenAPI Generator makes for Go write it for a body that was not given.
    """
    text = await read_body(body, limit=limit)
    if not text:
        return {}
    check_media_type(headers)
    value = parsed(text, max_depth, _MAX_MEMBERS)
    return {} if value is None else value


def parsed(text: bytes, max_depth: int, max_values: int) -> JSON:
    """Return the JSON value of a body; raises a 400 or 422 `Problem` as `read_json` does."""
    try:
        return parse(text, max_depth=max_depth, max_values=max_values, unique_keys=True)
    except Unrepresentable as error:
        raise problem_of(error) from None


def problem_of(error: Unrepresentable) -> Problem:
    """Return what is told of a body that is not JSON, or not such JSON as can be kept."""
    if error.line is not None:
        return Problem(400, "malformed-json", f"The body is {error.reason}.")
    return invalid([FieldError(error.pointer or "", error.reason)])


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


def validated(adapter: TypeAdapter[T], value: JSON, *place: int) -> T:
    """Return `value` as what `adapter` describes; `place` is where it stands in the request.

    Raises a 422 `Problem` that names each bad field.
    """
    if isinstance(value, dict) and len(value) > _MAX_MEMBERS:  # an error of each would take long to tell
        advice = f"has more than {_MAX_MEMBERS} members; leave out the unknown ones"
        raise invalid([FieldError(pointer(*place), advice)])
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        # The values themselves stay out of the answer: one may be a secret.
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(
            [_field_error((*place, *item["loc"]), item["type"], item["msg"]) for item in found[:_MAX_ERRORS]]
        ) from None


def pointer(*parts: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of the value that `parts` lead to."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _field_error(location: tuple[str | int, ...], kind: str, message: str) -> FieldError:
    if kind == "missing":
        return FieldError(pointer(*location), "is missing; add it")
    if kind in ("model_type", "model_attributes_type"):
        return FieldError(pointer(*location), "must be a JSON object")
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
