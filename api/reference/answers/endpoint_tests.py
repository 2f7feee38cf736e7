"""Answers to tests of a receiver."""

from datetime import datetime
from uuid import UUID

from api.reference.answers.shape import MAY_BE_ABSENT, Phases, Shape


class SentRequest(Shape):
    """A request as it went over the wire; the values of your custom headers are shown as `***`."""

    method: str
    url: str
    headers: dict[str, str]
    body: str
    """The very text that was signed."""


class Finding(Shape):
    """How the receiver took one special request."""

    check: str
    """What was special about it: `wrong_signature`, `stale_timestamp`, `repeated_id` or
    `unknown_event_type`; there may be others in time."""
    expected: str
    """What a good receiver does."""
    response_status: int | None
    """What this one answered; null without an answer."""
    error: str | None
    """Why there was no answer; null with one."""
    duration_ms: float
    passed: bool
    """Whether it did what a good receiver does."""
    advice: str | None
    """What to change; null if it passed."""


class TestOutcome(Shape):
    """What became of a test."""

    delivered: bool
    """Whether the receiver answered 2xx."""
    response_status: int | None
    """Status of the answer; null without one."""
    error: str | None
    """Code of what went wrong, such as `timeout` or `status_5xx`; null if nothing did."""
    error_detail: str | None
    """What that means and what to do; null if nothing went wrong."""
    note: str | None
    """What was imperfect in an answer that was read all the same, such as a body shorter than its
    Content-Length; null if nothing was."""
    duration_ms: float
    """From the look-up of the name to the end of the answer."""
    phases: Phases
    event_id: UUID
    """The `webhook-id` of the synthetic event."""
    delivery_id: UUID
    request: SentRequest | None
    """The exact request; null where none could be made."""
    curl: str | None
    """A shell line that sends the same once more; null where no request could be made."""
    response_headers: dict[str, str] | None
    """The headers of the answer that help to understand it, names in lower case; what may be secret is shown
    as `***`. Null without an answer."""
    response_excerpt: str | None
    """The first part of the answer's body, or which coding it is in; null without an answer."""
    blocked_until: datetime | None
    """Until when deliveries wait, as no connection to their host could be made of late; else null."""
    conformance: list[Finding] = MAY_BE_ABSENT
    """One entry a check. Absent unless `conformance` was asked for."""
    conforms: bool = MAY_BE_ABSENT
    """Whether all checks passed. Absent unless `conformance` was asked for."""
