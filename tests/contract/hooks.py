"""What Schemathesis has to be told: how a body of lines is sent."""

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def lines(context, value):  # type: ignore[no-untyped-def]
    return {"data": value.encode() if isinstance(value, str) else value}
