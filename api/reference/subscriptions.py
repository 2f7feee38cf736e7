"""The operations on subscriptions."""

from api.endpoint_tests import TestRequest
from api.reference import answers
from api.reference.operation import ANYBODY, Answer, Example, Operation
from api.reference.parameters import (
    CURSOR,
    DELIVERY,
    EVENT,
    IF_MATCH,
    LIMIT,
    ORG,
    SUBSCRIPTION,
    SUBSCRIPTION_ID,
)
from api.signing_secrets import Rotation
from api.subscription_fields import Registration, Update
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
            answer={
                "events": [
                    "placement.created",
                    "placement.updated",
                    "attestation.issued",
                    "attestation.revoked",
                    "match.proposed",
                    "match.accepted",
                    "match.declined",
                ]
            },
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
        "`is_active` false pauses: nothing new is routed, what is owed is held, and true lets it go on. A new"
        " `url` also gets what is owed; new `events` count for what is published from now on. Where `headers`"
        " are set and the new `url` is at another host, the same request must say which `headers` it gets."
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
    description="Removes the subscription, what is owed to it, and the history of its deliveries.",
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    answers={204: Answer("It is gone.")},
    problems=(412,),
    examples={"gone": Example("Delete it", status=204)},
)

ROTATE = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/rotate-secret",
    name="rotateSecret",
    tag=TAG,
    summary="Rotate the secret",
    description=(
        "Gives the subscription a new signing secret, which is shown this once. Until `previous_expires_at`"
        " both sign in `webhook-signature`, and `X-Alter-Signature`, which has room for one, stays with the"
        " previous one, so that the receiver can take its time to learn the new one.\n\n"
        "`overlap` says how long that is: 0 where the previous secret has leaked. Once the receiver knows the"
        " new one, `DELETE …/previous-secret` ends the previous one."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    body={"application/json": Rotation},
    body_required=False,
    answers={200: Answer("The new secret.", answers.Rotated)},
    problems=(409, 412),
    examples={
        "made": Example(
            "Have one made",
            answer={
                "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "previous_expires_at": "2026-03-11T10:00:00Z",
            },
        ),
        "own": Example(
            "Bring your own",
            body={"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
            answer={
                "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "previous_expires_at": "2026-03-11T10:00:00Z",
            },
        ),
        "longer": Example(
            "With a week to learn it",
            body={"overlap": "7d"},
            answer={
                "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "previous_expires_at": "2026-03-17T10:00:00Z",
            },
        ),
        "revoked": Example(
            "The previous one has leaked",
            body={"overlap": 0},
            answer={
                "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "previous_expires_at": "2026-03-10T10:00:00Z",
            },
        ),
    },
)

END_PREVIOUS = Operation(
    method="DELETE",
    path="/webhooks/{subscription_id}/previous-secret",
    name="endPreviousSecret",
    tag=TAG,
    summary="End the previous secret",
    description=(
        "From now on the newest secret signs alone, in `webhook-signature` and in `X-Alter-Signature`: the"
        " overlap of a rotation ends before its time. 204, too, where no other secret signs."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, IF_MATCH),
    answers={204: Answer("The newest secret signs alone.")},
    problems=(412,),
    examples={"ended": Example("End it", status=204)},
)

_BODY = (
    f'{{"data":{{"message":"A test of this endpoint."}},"id":"{EVENT}",'
    '"timestamp":"2026-03-10T10:05:00.000Z","type":"webhook.test"}'
)
_TESTED = {
    "delivered": True,
    "response_status": 204,
    "error": None,
    "error_detail": None,
    "note": None,
    "duration_ms": 84.12,
    "phases": {"dns_ms": 3.4, "connect_ms": 21.75, "tls_ms": 47.3, "first_byte_ms": 83.9},
    "event_id": EVENT,
    "delivery_id": DELIVERY,
    "request": {
        "method": "POST",
        "url": "https://example.com/webhooks",
        "headers": {
            "content-type": "application/json",
            "webhook-id": EVENT,
            "webhook-timestamp": "1773137100",
            "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        },
        "body": _BODY,
    },
    "curl": "curl -X POST https://example.com/webhooks …",
    "response_headers": {"server": "nginx", "date": "Tue, 10 Mar 2026 10:00:00 GMT"},
    "response_excerpt": "",
    "blocked_until": None,
}

TEST = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/test",
    name="testWebhook",
    tag=TAG,
    summary="Test a subscription",
    description=(
        "Sends one synthetic, signed event of the type `webhook.test` at once, and answers with what"
        " happened: 200 whenever the test was carried out, whatever the receiver did.\n\n"
        "With `conformance`, four more requests show whether the receiver verifies signatures and"
        " timestamps, and takes repeated and unknown events well. No test counts towards `failure_count`.\n\n"
        "Each request takes of the rate of its host and of your organisation's share of test requests, and"
        " several tests at a time are too many: 429 (`too-many-tests`) says which it is, and when to come"
        " back."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID,),
    body={"application/json": TestRequest},
    body_required=False,
    answers={200: Answer("The test was carried out.", answers.TestOutcome)},
    examples={
        "plain": Example("One event", answer=_TESTED),
        "conformance": Example(
            "Conformance",
            body={"conformance": True},
            answer={
                **_TESTED,
                "conformance": [
                    {
                        "check": "wrong_signature",
                        "expected": "4xx, such as 401: a request whose signature does not verify is refused",
                        "response_status": 401,
                        "error": None,
                        "duration_ms": 12.2,
                        "passed": True,
                        "advice": None,
                    }
                ],
                "conforms": True,
            },
        ),
    },
)

OPERATIONS = (REGISTER, LIST, EVENT_TYPES, GET, UPDATE, DELETE, ROTATE, END_PREVIOUS, TEST)
