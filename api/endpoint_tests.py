"""Tests of a receiver: one synthetic event, sent at once, and all that became of it."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from quart import Blueprint
from quart.wrappers import Response

from api.access import caller_of
from api.json_request import json_request
from api.problems import Problem, not_found, unavailable
from api.quart_app import json_response
from api.services import Services
from daemon.egress.errors import Phases
from daemon.egress.report import EndpointTest, EndpointTestsBusy, EndpointTestsStopping, Finding
from daemon.model import Role
from daemon.rfc3339 import rfc3339

_MAX_BODY = 4 * 1024  # bytes
_MAX_DEPTH = 4


class TestRequest(BaseModel):
    """What a test is to find out; without a body, whether one signed event arrives."""

    model_config = ConfigDict(strict=True, extra="forbid")

    conformance: Annotated[
        bool,
        Field(
            description="Also send a wrong signature, a stale timestamp, a repeated id and an unknown event"
            " type, and tell for each what a good receiver does and what this one did."
        ),
    ] = False


_REQUEST = TypeAdapter(TestRequest)


def blueprint(services: Services) -> Blueprint:
    """Return the route /webhooks/{id}/test."""
    routes = Blueprint("endpoint_tests", __name__, url_prefix="/webhooks")

    @routes.post("/<uuid:subscription_id>/test")
    async def test(subscription_id: UUID) -> Response:
        caller = await caller_of(services, Role.ORG_ADMIN)
        wanted = await json_request(_REQUEST, limit=_MAX_BODY, max_depth=_MAX_DEPTH, optional=True)
        subscription = await services.subscriptions.get(caller.org_id, subscription_id)
        if subscription is None:
            raise not_found("subscription")
        try:
            test = await services.endpoint_tests.run(
                caller.org_id, subscription.id, conformance=wanted.conformance
            )
        except EndpointTestsBusy as error:
            raise _too_many(error) from None
        except EndpointTestsStopping:
            raise unavailable("The server is stopping and begins no test; send the request again.") from None
        if test is None:
            raise not_found("subscription")
        return json_response(shown(test))

    return routes


def shown(test: EndpointTest) -> dict[str, Any]:
    """Return a test as the API tells it. Times in milliseconds."""
    outcome, sent = test.outcome, test.sent
    document: dict[str, Any] = {
        "delivered": outcome.error is None,
        "response_status": outcome.status,
        "error": outcome.error,
        "error_detail": outcome.detail,
        "note": outcome.note,
        "duration_ms": round(outcome.duration, 2),
        "phases": _phases(outcome.phases),
        "event_id": str(test.event_id),
        "delivery_id": str(test.delivery_id),
        "request": None,
        "curl": None,
        "response_headers": None if outcome.status is None else dict(outcome.headers or {}),
        "response_excerpt": outcome.excerpt,
        "blocked_until": None if test.blocked_until is None else rfc3339(test.blocked_until),
    }
    if sent is not None:
        document["request"] = {
            "method": sent.method,
            "url": sent.url,
            "headers": dict(sent.headers),
            "body": sent.body,
        }
        document["curl"] = sent.curl
    if test.findings is not None:
        document["conformance"] = [_finding(one) for one in test.findings]
        document["conforms"] = outcome.error is None and all(one.advice is None for one in test.findings)
    return document


def _phases(phases: Phases) -> dict[str, float | None]:
    times = {
        "dns_ms": phases.dns,
        "connect_ms": phases.connect,
        "tls_ms": phases.tls,
        "first_byte_ms": phases.first_byte,
    }
    return {name: None if seconds is None else round(seconds * 1000, 2) for name, seconds in times.items()}


def _finding(finding: Finding) -> dict[str, Any]:
    outcome = finding.outcome
    return {
        "check": finding.check,
        "expected": finding.expected,
        "response_status": outcome.status,
        # An answer that refuses is no error here: it may be just what is expected.
        "error": outcome.error if outcome.status is None else None,
        "duration_ms": round(outcome.duration, 2),
        "passed": finding.advice is None,
        "advice": finding.advice,
    }


def _too_many(error: EndpointTestsBusy) -> Problem:
    return Problem(
        429,
        "too-many-tests",
        f"{error.reason}; send the request again after the seconds in Retry-After.",
        headers={"Retry-After": str(error.retry_after)},
    )
