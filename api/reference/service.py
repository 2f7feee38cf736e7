"""The operations that tell of the service itself."""

from api.reference.answers import service as answers
from api.reference.operation import Answer, Example, Operation

TAG = "Service"
_CHECKS = [{"name": "running", "ok": True, "detail": ""}, {"name": "database", "ok": True, "detail": ""}]

OPERATIONS = (
    Operation(
        method="GET",
        path="/health/live",
        name="getLiveness",
        tag=TAG,
        summary="Is it alive?",
        description="Answers as long as the process does, whatever the database does.",
        roles=None,
        answers={200: Answer("The process answers.", answers.Alive)},
        examples={"live": Example("Alive", answer={"status": "ok"})},
    ),
    Operation(
        method="GET",
        path="/health/ready",
        name="getReadiness",
        tag=TAG,
        summary="Can it work?",
        description=(
            "Answers 200 if the daemon publishes and delivers now: Postgres takes writes, each part of an"
            " event's way (publishing, polling, routing, claiming, recording) has done a round, and none has"
            " stood still for more than 5 seconds. Else 503 with what is in the way; `detail` is for people."
        ),
        roles=None,
        answers={
            200: Answer("It can work.", answers.Readiness),
            503: Answer("It cannot work now; `checks` says why.", answers.Readiness),
        },
        examples={"ready": Example("Ready", answer={"status": "ok", "checks": _CHECKS})},
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="getMetrics",
        tag=TAG,
        summary="Metrics",
        description=(
            "What the daemon counts, in the text format of Prometheus, or as OpenMetrics where `Accept`"
            " prefers that. The operator can give metrics an address of their own; here they are then not"
            " found."
        ),
        roles=None,
        answers={200: Answer("The metrics.", str, "text/plain")},
        examples={"all": Example("All metrics")},
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        name="getOpenapi",
        tag=TAG,
        summary="This API as OpenAPI 3.1",
        description="The document that this page is made from. It has an `ETag`; ask with `If-None-Match`.",
        roles=None,
        answers={200: Answer("The document.", answers.OpenapiDocument, headers=("ETag",))},
        examples={"document": Example("The document")},
    ),
    Operation(
        method="GET",
        path="/docs",
        name="getDocs",
        tag=TAG,
        summary="This page",
        description="The API for people. It loads nothing from any other host.",
        roles=None,
        answers={200: Answer("The page.", str, "text/html", headers=("ETag",))},
        examples={"page": Example("The page")},
    ),
)
