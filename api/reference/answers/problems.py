"""Errors."""

from uuid import UUID

from pydantic import Field

from api.reference.answers.shape import MAY_BE_ABSENT, Shape


class BadValue(Shape):
    """What is wrong with one value of the request."""

    pointer: str
    """JSON Pointer (RFC 6901) of the value; empty for the whole body."""
    detail: str
    """What is wrong with it and what to do."""


class ProblemDocument(Shape):
    """An error (RFC 9457)."""

    type: str = Field(pattern="^urn:hookd:problem:[a-z0-9-]+$")
    """Which kind of problem it is; the part after the last colon never changes."""
    title: str
    """The kind in words."""
    status: int = Field(ge=400, le=599)
    """The status of the answer."""
    detail: str
    """What is wrong this time and what to do next."""
    request_id: str
    """The answer's `X-Request-Id`; tell it to whoever runs the server."""
    errors: list[BadValue] = MAY_BE_ABSENT
    """Each value that is wrong. Absent where none can be named."""
    line: int = MAY_BE_ABSENT
    """The line of an NDJSON stream that ended it, from 1. Absent for anything else."""
    accepted: int = MAY_BE_ABSENT
    """How many events of an NDJSON stream were published before it ended."""
    accepted_through: int = MAY_BE_ABSENT
    """The last line of an NDJSON stream that was published; 0 for none."""
    ids: list[UUID] = MAY_BE_ABSENT
    """The published events' identifiers, for up to 10,000 of them."""
    unknown_lines: list[int] = Field(MAY_BE_ABSENT, min_length=2, max_length=2)
    """First and last line of those of which it is not known whether they were published."""
