"""Answers about subscriptions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from api.reference.answers.shape import MAY_BE_ABSENT, Shape


class Subscription(Shape):
    """An endpoint of an organisation and the event types that it wants."""

    id: UUID
    """Identifier, a UUIDv7."""
    org_id: UUID
    """Organisation that it belongs to."""
    url: str
    """Where events are posted to."""
    events: list[str]
    """Event types that it wants; `match.*` stands for a group, `*` for all."""
    is_active: bool
    """Whether events are delivered. While false, what is pending is held."""
    failure_count: int = Field(ge=0)
    """Failed attempts since the last success."""
    created_at: datetime
    """When it was registered."""
    disabled_reason: str = MAY_BE_ABSENT
    """Why it is off: `gone` (its receiver answered 410), `failing` (for days) or the operator's words. Absent
    otherwise."""
    description: str = MAY_BE_ABSENT
    """Your note about it. Absent unless set."""
    metadata: dict[str, str] = MAY_BE_ABSENT
    """Your own names and values. Absent unless set."""
    headers: dict[str, str] = MAY_BE_ABSENT
    """Names of the headers that each request carries besides; each value is shown as `***`. Absent unless
    set."""
    filter: str | dict[str, Any] = MAY_BE_ABSENT
    """The condition on `data` that events must meet, as it was written. Absent unless set."""
    filter_problem: str = MAY_BE_ABSENT
    """Why the filter is not evaluated: its events are not sent, and end in the history as `filter_failed`.
    Change the filter, then replay. Absent if nothing is wrong."""
    rate_limit: float = MAY_BE_ABSENT
    """Most requests a second. Absent unless set."""
    ordered: bool = MAY_BE_ABSENT
    """Whether an event waits until the one before it has succeeded or was given up. Absent unless set."""
    timeout: float = MAY_BE_ABSENT
    """Seconds that one attempt may take. Absent unless set."""
    retry_schedule: list[float] = MAY_BE_ABSENT
    """Seconds to wait after each failed attempt. Absent unless set: then the operator's are in force."""
    public_key: str = MAY_BE_ABSENT
    """The key that deliveries verify with, `whpk_…`: signatures are Ed25519 (`v1a`). Absent where a shared
    secret signs."""


class Warned(Shape):
    """What was taken of the request, and will make trouble."""

    pointer: str
    """JSON Pointer (RFC 6901) of the value."""
    detail: str
    """What the trouble is and how to avoid it."""


class Registered(Subscription):
    """A new subscription; the only answer that has a generated `secret`."""

    secret: str = MAY_BE_ABSENT
    """The signing secret that was made. Keep it: it is shown this once. Absent if you brought your own, or
    where a pair of keys signs."""
    warnings: list[Warned] = MAY_BE_ABSENT
    """What is not as receivers' libraries have it. Absent if nothing is wrong."""


class SubscriptionPage(Shape):
    """One page of subscriptions."""

    data: list[Subscription] = Field(max_length=100)
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` to get the next page; null on the last."""


class EventTypes(Shape):
    """The event types that can be published and subscribed to."""

    events: list[str]
    """Their names."""


class Rotated(Shape):
    """A new signing secret."""

    secret: str = MAY_BE_ABSENT
    """The new secret. Keep it: it is shown this once. Absent where a pair of keys signs."""
    public_key: str = MAY_BE_ABSENT
    """The key that deliveries verify with, `whpk_…`. Absent where a shared secret signs."""
    previous_expires_at: datetime
    """Until then the previous secret signs, too."""
    warnings: list[Warned] = MAY_BE_ABSENT
    """What is not as receivers' libraries have it. Absent if nothing is wrong."""
