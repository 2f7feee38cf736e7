"""What answers look like, as models: the documents are made from them, and tests hold the answers to them.

A field with a default may be absent; one that may be null says so in its type. All good answers of an
operation have one model, an object: generated clients know one type for each, whatever the status is.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.pending_reason import Reason

_MAY_BE_ABSENT: Any = None
_REASONS = "Now: " + ", ".join(f"`{reason}`" for reason in Reason) + "."


class Shape(BaseModel):
    """Base of all: knows no other fields than its own, so that tests find what is not described.

    The documents say the opposite, in so many words, for clients must take fields that are new to them: where
    nothing is said, OpenAPI Generator's Go and Java refuse such answers.
    """

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"additionalProperties": True}
    )


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
    """Whether events are delivered. While false, what is owed is held."""
    failure_count: int = Field(ge=0)
    """Failed attempts since the last success."""
    created_at: datetime
    """When it was registered."""
    disabled_reason: str = _MAY_BE_ABSENT
    """Why it is off: `gone` (its receiver answered 410), `failing` (for days) or the operator's words. Absent
    otherwise."""
    description: str = _MAY_BE_ABSENT
    """Your note about it. Absent unless set."""
    metadata: dict[str, str] = _MAY_BE_ABSENT
    """Your own names and values. Absent unless set."""
    headers: dict[str, str] = _MAY_BE_ABSENT
    """Names of the headers that each request carries besides; each value is shown as `***`. Absent unless
    set."""
    filter: str | dict[str, Any] = _MAY_BE_ABSENT
    """The condition on `data` that events must meet, as it was written. Absent unless set."""
    filter_problem: str = _MAY_BE_ABSENT
    """Why the filter is not evaluated: its events are not sent, and end in the history as `filter_failed`.
    Change the filter, then replay. Absent if nothing is wrong."""
    rate_limit: float = _MAY_BE_ABSENT
    """Most requests a second. Absent unless set."""
    ordered: bool = _MAY_BE_ABSENT
    """Whether an event waits until the one before it has succeeded or was given up. Absent unless set."""
    timeout: float = _MAY_BE_ABSENT
    """Seconds that one attempt may take. Absent unless set."""
    retry_schedule: list[float] = _MAY_BE_ABSENT
    """Seconds to wait after each failed attempt. Absent unless set: then the operator's are in force."""
    public_key: str = _MAY_BE_ABSENT
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

    secret: str = _MAY_BE_ABSENT
    """The signing secret that was made. Keep it: it is shown this once. Absent if you brought your own, or
    where a pair of keys signs."""
    warnings: list[Warned] = _MAY_BE_ABSENT
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


class Published(Shape):
    """What was published."""

    id: UUID = _MAY_BE_ABSENT
    """The identifier of the one event, which receivers see as `webhook-id`. Absent for several."""
    ids: list[UUID] = _MAY_BE_ABSENT
    """The identifiers of an array's or a stream's events, in their order. Absent for one event, and for a
    stream of more than 10,000."""
    accepted: int = Field(_MAY_BE_ABSENT, ge=1)
    """How many events of a stream were published. Absent unless it was one."""


class Rotated(Shape):
    """A new signing secret."""

    secret: str = _MAY_BE_ABSENT
    """The new secret. Keep it: it is shown this once. Absent where a pair of keys signs."""
    public_key: str = _MAY_BE_ABSENT
    """The key that deliveries verify with, `whpk_…`. Absent where a shared secret signs."""
    previous_expires_at: datetime
    """Until then the previous secret signs, too."""
    warnings: list[Warned] = _MAY_BE_ABSENT
    """What is not as receivers' libraries have it. Absent if nothing is wrong."""


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
    id: UUID = _MAY_BE_ABSENT
    """Identifier, a UUIDv7. Absent for a `dry_run`, as are all below."""
    subscription_id: UUID = _MAY_BE_ABSENT
    """The subscription that gets them."""
    status: Literal["running", "done", "cancelled"] = _MAY_BE_ABSENT
    """Where it stands."""
    total: int = Field(_MAY_BE_ABSENT, ge=0)
    """The same as `count`."""
    queued: int = Field(_MAY_BE_ABSENT, ge=0)
    """Of which deliveries have been made."""
    skipped: int = Field(_MAY_BE_ABSENT, ge=0)
    """Of events that have expired meanwhile, or are cancelled."""
    remaining: int = Field(_MAY_BE_ABSENT, ge=0)
    """Still to come."""
    created_at: datetime = _MAY_BE_ABSENT
    """When it was asked for."""
    ended_at: datetime | None = _MAY_BE_ABSENT
    """When it was done or cancelled; null while it runs."""


class ReplayPage(Shape):
    """One page of replays."""

    data: list[Replay] = Field(max_length=100)
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` to get the next page; null on the last."""


class Alive(Shape):
    """The daemon answers."""

    status: Literal["ok"]


class ReadyCheck(Shape):
    """One thing that must work for the daemon to be ready."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it works."""
    detail: str
    """What is wrong and what to do; empty if nothing."""


class Readiness(Shape):
    """Whether the daemon can work."""

    status: Literal["ok", "unavailable"]
    """`unavailable` comes with the status 503."""
    checks: list[ReadyCheck]
    """All that was looked at."""


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
    errors: list[BadValue] = _MAY_BE_ABSENT
    """Each value that is wrong. Absent where none can be named."""
    line: int = _MAY_BE_ABSENT
    """The line of an NDJSON stream that ended it, from 1. Absent for anything else."""
    accepted: int = _MAY_BE_ABSENT
    """How many events of an NDJSON stream were published before it ended."""
    accepted_through: int = _MAY_BE_ABSENT
    """The last line of an NDJSON stream that was published; 0 for none."""
    ids: list[UUID] = _MAY_BE_ABSENT
    """The published events' identifiers, for up to 10,000 of them."""
    unknown_lines: list[int] = Field(_MAY_BE_ABSENT, min_length=2, max_length=2)
    """First and last line of those of which it is not known whether they were published."""


class Phases(Shape):
    """Milliseconds after the beginning at which each phase ended; null for one that was not reached or
    needed."""

    dns_ms: float | None
    """The name was looked up."""
    connect_ms: float | None
    """The connection was made."""
    tls_ms: float | None
    """TLS was agreed on."""
    first_byte_ms: float | None
    """The first byte of the answer came."""


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
    conformance: list[Finding] = _MAY_BE_ABSENT
    """One entry a check. Absent unless `conformance` was asked for."""
    conforms: bool = _MAY_BE_ABSENT
    """Whether all checks passed. Absent unless `conformance` was asked for."""


class OpenapiDocument(BaseModel):
    """An OpenAPI description (https://spec.openapis.org/oas/v3.1.1.html)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


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


class Owed(Shape):
    """A delivery that is still owed."""

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
    """One page of attempts, or of what is owed."""

    data: list[Attempt | Owed] = Field(max_length=100)
    """Attempts, newest first; with `status=pending` what is owed, next first."""
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
    """One event owed to one subscription, until it succeeds or is given up."""

    id: UUID
    """Identifier, a UUIDv7."""
    subscription_id: UUID
    """Who it is owed to."""
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
