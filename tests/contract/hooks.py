"""What Schemathesis has to be told: how a body of lines is sent, and that null stands for no body."""

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def lines(context, value):  # type: ignore[no-untyped-def]
    return {"data": value.encode() if isinstance(value, str) else value}


@schemathesis.hook
def filter_case(context, case):  # type: ignore[no-untyped-def]
    """Leave out null for a body that may be absent: it is taken, and not described.

    OpenAPI Generator's Go sends it; but were it described, openapi-python-client could leave no body out.
    """
    return case.body is not None or any(body.is_required for body in case.operation.body)
