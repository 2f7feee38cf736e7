"""What a client may set of a subscription, and the rules for each field."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, WithJsonSchema

from api import custom_headers
from api.bodies import pointer
from api.event_types import pattern_refusal
from api.problems import FieldError, invalid
from api.secret_fields import SecretField, SignatureField, check_secret
from api.services import ApiSettings, OwnSchedule
from daemon.egress.url import Url, UrlRefused
from daemon.filters import MAX_LENGTH, FilterRefused, path_of, shown, stored
from daemon.store.subscriptions import Extras

_Url = Annotated[
    str,
    Field(
        max_length=2048,
        description="Where events are sent: an HTTPS URL of a public host.",
        json_schema_extra={"pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@\\]+([/?][^\s#\\]*)?$"},
    ),
]
_Events = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=100,
        description="Event types, or patterns: `*` for all, `placement.*` for those that begin so.",
    ),
]
# What a terminal would act on, and what turns the text around it: C0, C1 and bidirectional controls.
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"
_CONTROLS_BUT_LINES = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_BUT_LINES = re.compile(f"[{_CONTROLS_BUT_LINES}]")
_ONE_LINE: dict[str, JsonValue] = {"pattern": f"^[^{_CONTROLS}]*$"}
_Description = Annotated[
    str,
    Field(
        max_length=500,
        description="A note for people.",
        json_schema_extra={"pattern": f"^[^{_CONTROLS_BUT_LINES}]*$"},
    ),
]
_Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=_ONE_LINE)],
        Annotated[str, Field(max_length=512, json_schema_extra=_ONE_LINE)],
    ],
    Field(
        max_length=50, description="Your own keys and values; hookd keeps them and does nothing with them."
    ),
]
_Headers = Annotated[
    dict[str, str],
    Field(
        max_length=custom_headers.MAX_HEADERS,
        description="Request headers that are sent besides hookd's own. Answers show their values as `***`.",
    ),
]
_FILTER = (
    "A condition on an event's `data`; events that it is not true for are not sent. Either a text, the"
    ' allowed part of an SQL/JSON path predicate: `$.country == "DE" && $.score > 0.5`. Or an object:'
    ' `{"country": "DE", "score": {"$gt": 0.5}}`. See the guide, *Filters*.'
)
_Filter = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": _FILTER,
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
                {"type": "object", "minProperties": 1, "additionalProperties": True},
            ],
        }
    ),
]
_RateLimit = Annotated[
    float, Field(ge=0.01, le=10_000, description="Requests a second, below what the host may be sent.")
]
_Ordered = Annotated[
    bool,
    Field(description="Strict order: an event waits until the one before it succeeded or was given up."),
]
_Timeout = Annotated[
    float,
    Field(ge=0.1, le=600, description="Seconds for one attempt; at most the operator's `delivery.timeout`."),
]
_RetrySchedule = Annotated[
    list[Annotated[float, Field(gt=0, le=31_536_000)]],
    Field(
        max_length=100,
        description="Seconds to wait after each failed attempt, instead of the operator's schedule; when the "
        "attempt after the last wait fails, the delivery is given up. [] gives up after the first. The "
        "operator sets bounds (`delivery.own_retries`, `own_retry_min`, `own_retry_total`).",
    ),
]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    url: _Url
    events: _Events
    is_active: bool = True
    description: _Description | None = None
    metadata: _Metadata | None = None
    headers: _Headers | None = None
    filter: _Filter | None = None
    rate_limit: _RateLimit | None = None
    ordered: _Ordered = False
    timeout: _Timeout | None = None
    retry_schedule: _RetrySchedule | None = None


class Registration(_Fields):
    """What a subscription is made from."""

    is_active: Annotated[
        bool, Field(description="false: nothing is routed to it until it is set to true.")
    ] = True
    secret: SecretField | None = None
    signature: SignatureField | None = None


class Update(_Fields):
    """What is to change of a subscription; what is left out stays, null takes an optional setting away."""

    # These cannot be taken away, so null is refused; the defaults are never read.
    url: _Url = ""
    events: _Events = []
    is_active: Annotated[
        bool, Field(description="false pauses: nothing new is routed, what is pending is held. true resumes.")
    ] = True


REGISTRATION = TypeAdapter(Registration)
UPDATE = TypeAdapter(Update)


async def check(
    wanted: Registration | Update,
    settings: ApiSettings,
    check_url: Callable[[str], Awaitable[Url]],
) -> Url | None:
    """Return the parsed URL, if there is one; raises one 422 `Problem` that names all that is wrong."""
    given = wanted.model_fields_set
    errors = list(_errors(wanted, settings))
    url = None
    if "url" in given:
        try:
            url = await check_url(wanted.url)
        except UrlRefused as error:
            errors.insert(0, FieldError("/url", f"{error.detail} (rule: {error.rule})"))
    if errors:
        raise invalid(errors)
    return url


def extras_of(wanted: Registration | Update) -> Extras:
    """Return the optional settings."""
    return Extras(
        description=wanted.description,
        metadata=wanted.metadata or None,
        headers=wanted.headers or None,
        filter=None if wanted.filter is None else stored(wanted.filter),
        rate_limit=wanted.rate_limit,
        ordered=wanted.ordered,
        timeout=wanted.timeout,
        retry_schedule=wanted.retry_schedule,
    )


def shown_extras(extras: Extras) -> dict[str, Any]:
    """Return the optional settings as the API shows them: those that are set, and of headers the names."""
    settings: dict[str, Any] = {
        "description": extras.description,
        "metadata": extras.metadata,
        "headers": None if extras.headers is None else dict.fromkeys(extras.headers, "***"),
        "filter": None if extras.filter is None else shown(extras.filter),
        "filter_problem": extras.filter_problem,
        "rate_limit": extras.rate_limit,
        "ordered": extras.ordered or None,
        "timeout": extras.timeout,
        "retry_schedule": extras.retry_schedule,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _errors(wanted: Registration | Update, settings: ApiSettings) -> Iterator[FieldError]:
    for index, pattern in enumerate(wanted.events):
        refusal = pattern_refusal(pattern, settings.event_types)
        if refusal is not None:
            yield FieldError(pointer("events", index), refusal)
    if isinstance(wanted, Registration):
        yield from check_secret(wanted.secret, wanted.signature)
    if wanted.description is not None and _CONTROL_BUT_LINES.search(wanted.description):
        yield FieldError(
            "/description", "holds a control character; use text, with line feeds and tabs at most"
        )
    for key, value in (wanted.metadata or {}).items():
        if _CONTROL.search(key) or _CONTROL.search(value):
            yield FieldError(pointer("metadata", key), "holds a control character; use text of one line")
    for name, refusal in custom_headers.refusals(wanted.headers or {}, settings.header_prefix).items():
        yield FieldError(pointer("headers", name), refusal)
    if wanted.filter is not None:
        yield from _filter_errors(wanted.filter)
    if wanted.retry_schedule is not None:
        yield from _schedule_errors(wanted.retry_schedule, settings.own_schedule)
    if wanted.timeout is not None and wanted.timeout > settings.longest_timeout:
        yield FieldError("/timeout", f"must be at most {settings.longest_timeout:g} seconds")


def _schedule_errors(waits: Sequence[float], bounds: OwnSchedule) -> Iterator[FieldError]:
    if len(waits) > bounds.most:
        yield FieldError("/retry_schedule", f"must have at most {bounds.most} waits")
    for index, wait in enumerate(waits[: bounds.most]):
        if wait < bounds.shortest:
            yield FieldError(
                pointer("retry_schedule", index), f"must be at least {bounds.shortest:g} seconds"
            )
    if sum(waits) > bounds.longest_in_all:
        yield FieldError("/retry_schedule", f"must come to at most {bounds.longest_in_all:g} seconds in all")


def _filter_errors(source: object) -> Iterator[FieldError]:
    if not isinstance(source, str | dict):
        yield FieldError(
            "/filter", 'must be a text, as $.country == "DE", or an object, as {"country": "DE"}'
        )
        return
    try:
        path_of(source)
    except FilterRefused as error:
        yield FieldError("/filter" + error.pointer, error.detail)
