"""Answers about deliveries."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.pending_reason import Reason
from api.reference.answers.shape import Phases, Shape

_REASONS = "Now: " + ", ".join(f"`{reason}`" for reason in Reason) + "."


class Attempt(Shape):
    """One request that was made for a delivery, or the end of one that came without a request."""

    id: UUID
    """Identifier, a UUIDv7."""
    delivery_id: UUID
    """The delivery that it was made for; receivers see it as `X-Alter-Delivery`."""
    event_id: UUID
    """The event; receivers see it as `webhook-id`."""
    event_type: str
    """The event's type."""
    attempt: int = Field(ge=0)
    """Which attempt of the delivery it was, from 1."""
    status: Literal["succeeded", "failed"]
    """Whether the receiver answered 2xx."""
    response_status: int | None
    """Status of the answer; null without one."""
    error: str | None
    """Code of what went wrong, such as `timeout` or `status_5xx`; null if nothing did."""
    note: str | None
    """What was imperfect in an answer that was read all the same, such as a body shorter than its
    Content-Length; null if nothing was."""
    duration_ms: float | None
    """From the look-up of the name to the end of the answer; null where no request was made."""
    attempted_at: datetime
    """When it began."""
    next_attempt_at: datetime | None
    """When the next one is due; null if there is none."""


class PendingDelivery(Shape):
    """A delivery that is still pending."""

    delivery_id: UUID
    """Identifier, a UUIDv7."""
    event_id: UUID
    """The event."""
    event_type: str
    """The event's type."""
    attempt: int = Field(ge=0)
    """Attempts so far, one under way included."""
    failures: int = Field(ge=0)
    """Attempts that failed."""
    status: Literal["pending", "held"]
    """`held` while the subscription is off."""
    due: datetime
    """When it may be sent next."""


class DeliveryPage(Shape):
    """One page of attempts, or of what is pending."""

    data: list[Attempt | PendingDelivery] = Field(max_length=100)
    """Attempts, newest first; with `status=pending` what is pending, next first."""
    next_cursor: str | None
    """Pass it as `cursor` to get the next page; null on the last."""


class WaitingFor(Shape):
    """What holds a delivery."""

    reason: str = Field(description=f"What it is; there may be others in time. {_REASONS}")
    until: datetime | None
    """The moment before which nothing changes; null where no time is set."""
    detail: str
    """The same in a sentence."""


class AttemptRequest(Shape):
    """A request as it was sent; the values of your custom headers are shown as `***`."""

    method: str
    url: str
    """The subscription's URL of today."""
    headers: dict[str, str] | None
    """All of them, signatures included; null where they cannot be known any more."""


class WholeAttempt(Attempt):
    """An attempt with all that is known of it."""

    error_detail: str | None
    """What went wrong in a sentence; null if there was an answer."""
    phases: Phases
    request: AttemptRequest | None
    """The request; null where none was made."""
    response_headers: dict[str, str] | None
    """The headers of the answer that help to understand it, names in lower case; of a good answer only what
    names the request and the coding of its body. What may be secret is shown as `***`. Null without an
    answer."""
    response_excerpt: str | None
    """The first part of the answer's body, or which coding it is in; null without an answer."""


class Delivery(Shape):
    """One event for one subscription, until it succeeds or is given up."""

    id: UUID
    """Identifier, a UUIDv7."""
    subscription_id: UUID
    """Who it is for."""
    event_id: UUID
    """The event."""
    event_type: str
    """The event's type."""
    status: Literal["pending", "held", "succeeded", "given_up"]
    """`held` while the subscription is off."""
    reason: str | None
    """Why it was given up: `exhausted`, `gone`, `expired`, `unrepresentable`, `filter_failed` (the
    subscription's filter is not evaluated) or `cancelled`; null if it was not."""
    created_at: datetime
    """When it was made."""
    waiting: WaitingFor | None
    """What holds it now; null once it has ended."""
    body: str | None
    """The very text that is sent; null once the event has expired."""
    attempts: list[WholeAttempt]
    """All its attempts, oldest first."""


class Redelivery(Shape):
    """A new delivery of an old event."""

    delivery_id: UUID
    """The new delivery."""
    waiting: WaitingFor | None
    """What holds it at this moment, such as a pause that the receiver asked for; null once it has ended."""


class Retried(Shape):
    """A delivery that is due now."""

    delivery_id: UUID
    """The delivery."""
    waiting: WaitingFor | None
    """What holds it at this moment, such as a pause that the receiver asked for; null once it has ended."""
