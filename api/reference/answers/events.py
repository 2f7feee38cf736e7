"""Answers to publishing."""

from uuid import UUID

from pydantic import Field

from api.reference.answers.shape import MAY_BE_ABSENT, Shape


class Published(Shape):
    """What was published."""

    id: UUID = MAY_BE_ABSENT
    """The identifier of the one event, which receivers see as `webhook-id`. Absent for several."""
    ids: list[UUID] = MAY_BE_ABSENT
    """The identifiers of an array's or a stream's events, in their order. Absent for one event, and for a
    stream of more than 10,000."""
    accepted: int = Field(MAY_BE_ABSENT, ge=1)
    """How many events of a stream were published. Absent unless it was one."""
