"""The parameters that several operations share."""

from api.cursors import DEFAULT_LIMIT, MAX_LIMIT
from api.reference.operation import Parameter

SUBSCRIPTION = "018f6d1f-2b40-7a31-9c55-0d3c6f0a9e11"
"""The subscription that examples speak of."""
ORG = "018f6d1e-6a00-7000-8000-000000000001"
EVENT = "018f6d20-11aa-7c02-8f6e-51b8a4e2d770"
DELIVERY = "018f6d20-11b3-7d4f-a1c8-7e9f2b6c0d15"
SENT = {
    "method": "POST",
    "url": "https://example.com/webhooks",
    "headers": {
        "content-type": "application/json",
        "webhook-id": EVENT,
        "webhook-timestamp": "1773136800",
        "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    },
}
"""A request as it was sent."""

SUBSCRIPTION_ID = Parameter(
    "subscription_id",
    "path",
    "The subscription's identifier.",
    {"type": "string", "format": "uuid"},
    SUBSCRIPTION,
)
LIMIT = Parameter(
    "limit",
    "query",
    "How many to return at most.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    20,
)
CURSOR = Parameter(
    "cursor",
    "query",
    "`next_cursor` of the page before, unchanged and with the same filters. It is signed and belongs to your"
    " organisation and this list alone.",
    {"type": "string", "minLength": 1, "maxLength": 1024},
)
IF_MATCH = Parameter(
    "If-Match",
    "header",
    "The `ETag` that you read: it is done only if nobody has changed the subscription since, else the"
    " answer is 412. Of several, one must match; a weak tag, which a proxy may make of it, never does.",
    {"type": "string", "pattern": '^((W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*|[*])$'},
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes the request safe to repeat for 24 hours: 1 to 255 visible ASCII characters, such as a UUID.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-+.-~-]+$"},
)
