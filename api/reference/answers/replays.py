"""Answers about replays."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.reference.answers.shape import MAY_BE_ABSENT, Shape


class Replay(Shape):
    """Past events that are sent once more."""

    id: UUID
    """Identifier, a UUIDv7."""
    subscription_id: UUID
    """The subscription that gets them."""
    status: Literal["running", "done", "cancelled"]
    """Where it stands."""
    total: int = Field(ge=0)
    """Events that it is to send."""
    queued: int = Field(ge=0)
    """Of which deliveries have been made."""
    skipped: int = Field(ge=0)
    """Of events that have expired meanwhile, or are cancelled."""
    remaining: int = Field(ge=0)
    """Still to come."""
    created_at: datetime
    """When it was asked for."""
    ended_at: datetime | None
    """When it was done or cancelled; null while it runs."""


class ReplayAnswer(Shape):
    """The replay that was started; or, for a `dry_run`, only what it would send."""

    dry_run: bool
    """Whether nothing is sent: events were counted, and there is no replay."""
    count: int = Field(ge=0)
    """Events that it is to send, or would send."""
    id: UUID = MAY_BE_ABSENT
    """Identifier, a UUIDv7. Absent for a `dry_run`, as are all below."""
    subscription_id: UUID = MAY_BE_ABSENT
    """The subscription that gets them."""
    status: Literal["running", "done", "cancelled"] = MAY_BE_ABSENT
    """Where it stands."""
    total: int = Field(MAY_BE_ABSENT, ge=0)
    """The same as `count`."""
    queued: int = Field(MAY_BE_ABSENT, ge=0)
    """Of which deliveries have been made."""
    skipped: int = Field(MAY_BE_ABSENT, ge=0)
    """Of events that have expired meanwhile, or are cancelled."""
    remaining: int = Field(MAY_BE_ABSENT, ge=0)
    """Still to come."""
    created_at: datetime = MAY_BE_ABSENT
    """When it was asked for."""
    ended_at: datetime | None = MAY_BE_ABSENT
    """When it was done or cancelled; null while it runs."""


class ReplayPage(Shape):
    """One page of replays."""

    data: list[Replay] = Field(max_length=100)
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` to get the next page; null on the last."""
