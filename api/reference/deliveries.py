"""The operations on deliveries: what was sent, what came back, and what is still pending."""

from api.reference.answers import deliveries as answers
from api.reference.operation import Answer, Example, Operation, Parameter
from api.reference.parameters import CURSOR, DELIVERY, EVENT, LIMIT, SENT, SUBSCRIPTION, SUBSCRIPTION_ID
from daemon.model import Role

TAG = "Deliveries"
DELIVERY_ID = Parameter(
    "delivery_id", "path", "The delivery's identifier.", {"type": "string", "format": "uuid"}, DELIVERY
)
_FILTERS = (
    Parameter(
        "status",
        "query",
        "Attempts that ended so; or `pending` for the deliveries that are still pending, next first.",
        {"type": "string", "enum": ["succeeded", "failed", "pending"]},
    ),
    Parameter(
        "event_type",
        "query",
        "Of events of this type; `match.*` stands for all that begin so.",
        {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^([ -)+-~]+|[ -)+-~]+[.][*]|[*])$"},
    ),
    Parameter(
        "from",
        "query",
        "Attempts at this time or later. Not with `status=pending`.",
        {"type": "string", "format": "date-time"},
    ),
    Parameter(
        "to",
        "query",
        "Attempts before this time, which must be later than `from`. Not with `status=pending`.",
        {"type": "string", "format": "date-time"},
    ),
)
_QUEUED = "It is due, and goes as soon as a sender takes it."
_ATTEMPT = {
    "id": "018f6d20-2f40-7e88-9d31-6b0c9f0e4a27",
    "delivery_id": DELIVERY,
    "event_id": EVENT,
    "event_type": "match.proposed",
    "attempt": 1,
    "status": "failed",
    "response_status": 503,
    "error": "status_5xx",
    "note": None,
    "duration_ms": 212.4,
    "attempted_at": "2026-03-10T10:00:00.412Z",
    "next_attempt_at": "2026-03-10T10:00:05.920Z",
}
_BODY = (
    f'{{"data":{{"candidate":7}},"id":"{EVENT}",'
    '"timestamp":"2026-03-10T10:00:00.000Z","type":"match.proposed"}'
)

LIST = Operation(
    method="GET",
    path="/webhooks/{subscription_id}/deliveries",
    name="listDeliveries",
    tag=TAG,
    summary="List deliveries",
    description=(
        "Returns the attempts to deliver to a subscription, newest first. `status=pending` lists what is"
        " still pending instead."
    ),
    parameters=(SUBSCRIPTION_ID, *_FILTERS, LIMIT, CURSOR),
    answers={200: Answer("One page.", answers.DeliveryPage, headers=("Link",))},
    examples={
        "attempts": Example("The last attempts", answer={"data": [_ATTEMPT], "next_cursor": None}),
        "failed": Example(
            "Failures of one day",
            query={"status": "failed", "from": "2026-03-10T00:00:00Z", "to": "2026-03-11T00:00:00Z"},
            answer={"data": [_ATTEMPT], "next_cursor": None},
        ),
        "pending": Example(
            "What is pending",
            query={"status": "pending"},
            answer={
                "data": [
                    {
                        "delivery_id": DELIVERY,
                        "event_id": EVENT,
                        "event_type": "match.proposed",
                        "attempt": 1,
                        "failures": 1,
                        "status": "pending",
                        "due": "2026-03-10T10:00:05.920Z",
                    }
                ],
                "next_cursor": None,
            },
        ),
    },
)

GET = Operation(
    method="GET",
    path="/webhooks/{subscription_id}/deliveries/{delivery_id}",
    name="getDelivery",
    tag=TAG,
    summary="Explain a delivery",
    description=(
        "Returns one delivery with all its attempts, each request as it was sent and what came back, and,"
        " while it is pending, what it waits for and until when."
    ),
    parameters=(SUBSCRIPTION_ID, DELIVERY_ID),
    answers={200: Answer("The delivery.", answers.Delivery)},
    examples={
        "waiting": Example(
            "One that waits for its retry",
            answer={
                "id": DELIVERY,
                "subscription_id": SUBSCRIPTION,
                "event_id": EVENT,
                "event_type": "match.proposed",
                "status": "pending",
                "reason": None,
                "created_at": "2026-03-10T10:00:00.019Z",
                "waiting": {
                    "reason": "retry",
                    "until": "2026-03-10T10:00:05.920Z",
                    "detail": "The last attempt did not succeed; the next one follows the retry schedule.",
                },
                "body": _BODY,
                "attempts": [
                    {
                        **_ATTEMPT,
                        "error_detail": None,
                        "phases": {"dns_ms": 3.1, "connect_ms": 22.4, "tls_ms": 48.0, "first_byte_ms": 212.1},
                        "request": SENT,
                        "response_headers": {"content-type": "text/plain", "retry-after": "5"},
                        "response_excerpt": "upstream is restarting",
                    }
                ],
            },
        )
    },
)

REDELIVER = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/deliveries/{delivery_id}/redeliver",
    name="redeliver",
    tag=TAG,
    summary="Deliver once more",
    description=(
        "Makes a new delivery of the same event to the same subscription, whatever became of the first one."
        " The `webhook-id` is the same, so a receiver that has handled it can tell."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, DELIVERY_ID),
    answers={202: Answer("It is pending once more.", answers.Redelivery, headers=("Location",))},
    problems=(409,),
    examples={
        "again": Example(
            "Once more",
            answer={
                "delivery_id": "018f6d24-0c55-7b1e-93aa-8d2f3c4b5a60",
                "waiting": {"reason": "queue", "until": None, "detail": _QUEUED},
            },
            status=202,
        )
    },
    links={
        "getDelivery": {
            "subscription_id": "$request.path.subscription_id",
            "delivery_id": "$response.body#/delivery_id",
        }
    },
)

RETRY = Operation(
    method="POST",
    path="/webhooks/{subscription_id}/deliveries/{delivery_id}/retry",
    name="retryDelivery",
    tag=TAG,
    summary="Try again now",
    description=(
        "Makes the next attempt of a delivery that is still pending now, instead of when its schedule, or"
        " `deliver_after`, has it. It stays the same delivery; its later attempts keep to the schedule. What"
        " holds the whole subscription, such as a pause that the receiver asked for with `Retry-After`, goes"
        " on to do so, and `waiting` says until when."
    ),
    roles=(Role.ORG_ADMIN,),
    parameters=(SUBSCRIPTION_ID, DELIVERY_ID),
    answers={202: Answer("It is due now.", answers.Retried, headers=("Location",))},
    problems=(409,),
    examples={
        "now": Example(
            "Now",
            answer={
                "delivery_id": DELIVERY,
                "waiting": {"reason": "queue", "until": None, "detail": _QUEUED},
            },
            status=202,
        )
    },
)

OPERATIONS = (LIST, GET, REDELIVER, RETRY)
