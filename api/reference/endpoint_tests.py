"""The operation that tests a subscription's receiver."""

from api.endpoint_tests import TestRequest
from api.reference.answers import endpoint_tests as answers
from api.reference.operation import Answer, Example, Operation
from api.reference.parameters import DELIVERY, EVENT, SENT, SUBSCRIPTION_ID
from api.reference.subscriptions import TAG
from daemon.model import Role

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
    "request": {**SENT, "body": _BODY},
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

OPERATIONS = (TEST,)
