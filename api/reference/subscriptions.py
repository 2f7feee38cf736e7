"""The operations on subscriptions."""

from api.reference.answers import subscriptions as answers
from api.reference.operation import ANYBODY, Answer, Example, Operation
from api.reference.parameters import (
    CURSOR,
    IF_MATCH,
    LIMIT,
    ORG,
    SUBSCRIPTION,
    SUBSCRIPTION_ID,
)
from api.subscription_fields import Registration, Update
from daemon.config.sections.events import EventsConfig
from daemon.model import Role
from daemon.signing.secrets import check_new_secret

TAG = "Subscriptions"
_SHOWN = {
    "id": SUBSCRIPTION,
    "org_id": ORG,
    "url": "https://example.com/webhooks",
    "events": ["match.proposed"],
    "is_active": True,
    "failure_count": 0,
    "created_at": "2026-03-10T10:00:00Z",
}
_FILTER = {
    "country": {"$in": ["DE", "AT"]},
    "score": {"$gt": 0.5},
    "$or": [{"tags": "urgent"}, {"source.name": {"$startsWith": "partner-"}}],
}
_NOT_BASE64 = check_new_secret("whsec_abc123...")[0]
_OPERATIONS_OF_IT = (
    "getWebhook",
    "updateWebhook",
    "deleteWebhook",
    "rotateSecret",
    "endPreviousSecret",
    "testWebhook",
    "replayEvents",
    "listReplays",
    "listDeliveries",
)

REGISTER = Operation(
    method="POST",
    path="/webhooks/",
    name="registerWebhook",
    tag=TAG,
    summary="Register a subscription",
    description=(
        "Events of the types in `events` are posted to `url` from now on.\n\n"
        "Leave `secret` out to have one made: the answer shows it this once. The URL is checked at once"
        " against the rules for outgoing requests, and again each time something is sent. `warnings` tell of"
        " what was taken and will make trouble."
    ),
    roles=(Role.ORG_ADMIN,),
    body={"application/json": Registration},
    answers={201: Answer("It is registered.", answers.Registered, headers=("Location", "ETag"))},
    problems=(409,),
    examples={
        "made_secret": Example(
            "URL and events",
            body={"url": "https://example.com/webhooks", "events": ["match.proposed"]},
            answer={
                **_SHOWN,
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            },
            status=201,
        ),
        "everything": Example(
            "Every setting",
            body={
                "url": "https://example.com/webhooks",
                "events": ["*"],
                "description": "Placements into the billing system",
                "metadata": {"team": "billing"},
                "headers": {"X-Api-Key": "k-7f3a"},
                "filter": '$.country == "DE" && $.score > 0.5',
                "rate_limit": 20,
                "ordered": True,
                "timeout": 5,
            },
            answer={
                **_SHOWN,
                "events": ["*"],
                "description": "Placements into the billing system",
                "metadata": {"team": "billing"},
                "headers": {"X-Api-Key": "***"},
                "filter": '$.country == "DE" && $.score > 0.5',
                "rate_limit": 20.0,
                "ordered": True,
                "timeout": 5.0,
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            },
            status=201,
        ),
        "filtered": Example(
            "Only some events",
            body={"url": "https://example.com/webhooks", "events": ["placement.*"], "filter": _FILTER},
            answer={
                **_SHOWN,
                "events": ["placement.*"],
                "filter": _FILTER,
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            },
            status=201,
        ),
        "pair": Example(
            "A pair of keys, not yet active",
            body={
                "url": "https://example.com/webhooks",
                "events": ["match.proposed"],
                "signature": "ed25519",
                "is_active": False,
                "retry_schedule": [5, 60, 600, 3600, 43200],
            },
            answer={
                **_SHOWN,
                "is_active": False,
                "disabled_reason": "paused",
                "public_key": "whpk_5vyo3bYU6eHdMM9tyH5eQTWEE0ZyHv2bL5xPQ1Pq0Ng=",
                "retry_schedule": [5.0, 60.0, 600.0, 3600.0, 43200.0],
            },
            status=201,
        ),
        "compatibility": Example(
            "Compatibility: a secret that is not base64",
            body={
                "url": "https://example.com/webhooks",
                "events": ["match.proposed"],
                "secret": "whsec_abc123...",
            },
            answer={**_SHOWN, "warnings": [{"pointer": "/secret", "detail": _NOT_BASE64}]},
            status=201,
        ),
    },
    links={name: {"subscription_id": "$response.body#/id"} for name in _OPERATIONS_OF_IT},
)

LIST = Operation(
    method="GET",
    path="/webhooks/",
    name="listWebhooks",
    tag=TAG,
    summary="List subscriptions",
    description="Returns your organisation's subscriptions, newest first.",
    parameters=(LIMIT, CURSOR),
    answers={200: Answer("One page.", answers.SubscriptionPage, headers=("Link",))},
    examples={
        "page": Example(
            "The first page", query={"limit": "20"}, answer={"data": [_SHOWN], "next_cursor": None}
        )
    },
)

EVENT_TYPES = Operation(
    method="GET",
    path="/webhooks/events",
    name="listEventTypes",
    tag=TAG,
    summary="List event types",
    description="Returns the event types that can be published and subscribed to.",
    roles=ANYBODY,
    answers={200: Answer("The event types.", answers.EventTypes)},
    examples={
        "types": Example(
            "All event types",
            answer={"events": list(EventsConfig().types)},
        )
    },
)

GET = Operation(
    method="GET",
    path="/webhooks/{subscription_id}",
    name="getWebhook",
    tag=TAG,
    summary="Read a subscription",
    description="Returns one subscription. Its `ETag` is what `If-Match` of a later change asks for.",
    parameters=(SUBSCRIPTION_ID,),
    answers={200: Answer("The subscription.", answers.Subscription, headers=("ETag",))},
    examples={"one": Example("A subscription", answer=_SHOWN)},
)

UPDATE = Operation(
    method="PATCH",
    path="/webhooks/{subscription_id}",
    name="updateWebhook",
    tag=TAG,
    summary="Change a subscription",
    description=(
        "Changes what the body names; what it leaves out stays, and null takes an optional setting away.\n\n"
        "`is_active` false pauses: nothing new is routed, what is pending is held, true lets it go on. A new"
        " `url` also gets what is pending; new `events` count for what is published from now on. Where"
        " `headers` are set and the new `url` is at another host, the same request must say which `headers`"
        " it gets."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    body={"application/json": Update},
    answers={200: Answer("The subscription as it is now.", answers.Subscription, headers=("ETag",))},
    problems=(412,),
    examples={
        "events": Example(
            "Other event types",
            body={"events": ["match.proposed", "match.accepted"]},
            answer={**_SHOWN, "events": ["match.proposed", "match.accepted"]},
        ),
        "pause": Example(
            "Pause, if unchanged",
            body={"is_active": False},
            headers={"If-Match": '"1.0"'},
            answer={**_SHOWN, "is_active": False},
        ),
        "filter": Example(
            "Another filter",
            body={"filter": '$.country == "DE" && exists($.tags[*] ? (@ == "urgent"))'},
            answer={**_SHOWN, "filter": '$.country == "DE" && exists($.tags[*] ? (@ == "urgent"))'},
        ),
    },
)

DELETE = Operation(
    method="DELETE",
    path="/webhooks/{subscription_id}",
    name="deleteWebhook",
    tag=TAG,
    summary="Delete a subscription",
    description="Removes the subscription, its pending deliveries, and the history of its deliveries.",
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    answers={204: Answer("It is gone.")},
    problems=(412,),
    examples={"gone": Example("Delete it", status=204)},
)

OPERATIONS = (REGISTER, LIST, EVENT_TYPES, GET, UPDATE, DELETE)
