"""All operations of the API, in the order in which its documents tell them."""

from collections.abc import Mapping

from api.reference import deliveries, endpoint_tests, events, replays, service, signing_secrets, subscriptions
from api.reference.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *subscriptions.OPERATIONS,
    *signing_secrets.OPERATIONS,
    *endpoint_tests.OPERATIONS,
    *deliveries.OPERATIONS,
    *events.OPERATIONS,
    *replays.OPERATIONS,
    *service.OPERATIONS,
)

TAGS: Mapping[str, str] = {
    subscriptions.TAG: "Where your organisation wants to hear of what, and whether that works.",
    deliveries.TAG: "What was sent and what came back, what is still pending, and why it waits.",
    events.TAG: "What happened, told once; hookd sees to it that every subscriber hears of it.",
    replays.TAG: "The past once more: after an outage of yours, or for a subscription that is new.",
    service.TAG: "How the service is, and its own description. No token is needed.",
}
