"""The OpenAPI document is one that clients can be generated from: what is known to break them is not in it.

`make contract` generates some, and drives them.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from api.openapi import Facts, document
from tests.support.api_harness import TYPES

DOCUMENT = document(Facts(TYPES, 1000))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()
}
CLOSED = ("additionalProperties", "unevaluatedProperties")


def within(schema: Any) -> Iterator[dict[str, Any]]:
    """Give a schema and all that it is made of or refers to."""
    waiting, seen = [schema], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            reference = found.get("$ref")
            if isinstance(reference, str):
                if reference not in seen:
                    seen.add(reference)
                    waiting.append(resolved(found))
            else:
                yield found
                waiting += found.values()


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = DOCUMENT
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found)


def answers(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give the status, media type and schema of each answer that has a body."""
    for status, answer in operation["responses"].items():
        for media_type, content in resolved(answer).get("content", {}).items():
            yield status, media_type, content["schema"]


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield content["schema"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_good_answers_of_an_operation_have_one_schema(name: str) -> None:
    # OpenAPI Generator's Go reads each with that of the first: one of another shape is an error to it.
    good = [schema for status, _, schema in answers(OPERATIONS[name]) if status.startswith("2")]
    assert all(schema == good[0] for schema in good)
    for schema in good:
        assert "$ref" in schema or schema == {"type": "string"}, "it has a name, or is text"
        assert not {"anyOf", "oneOf", "allOf"} & set(resolved(schema))


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_may_have_fields_that_are_new(name: str) -> None:
    for status, media_type, schema in answers(OPERATIONS[name]):
        for part in within(schema):
            assert not [key for key in CLOSED if part.get(key) is False], (status, media_type, part)
            if "properties" in part:  # where nothing is said, OpenAPI Generator's Go and Java refuse them
                assert part["additionalProperties"] is True, (status, media_type, part)


@pytest.mark.parametrize("name", OPERATIONS)
def test_requests_have_no_fields_but_those_described(name: str) -> None:
    for schema in bodies(OPERATIONS[name]):
        for part in within(schema):
            if "properties" in part:
                assert part["additionalProperties"] is False, part


@pytest.mark.parametrize("name", OPERATIONS)
def test_fields_of_requests_have_no_defaults(name: str) -> None:
    # openapi-typescript makes such fields required; others send the default, and so change what was left out.
    for schema in bodies(OPERATIONS[name]):
        assert not [part for part in within(schema) if "default" in part]


def test_what_a_registration_must_have_is_its_url_and_events() -> None:
    required = {name: set(schema.get("required", ())) for name, schema in SCHEMAS.items()}
    assert required["Registration"] == {"url", "events"}
    assert required["IncomingEvent"] == {"type", "data"}
    assert required["ReplayRequest"] == {"from"}
    assert not required["Update"] | required["Rotation"] | required["TestRequest"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_made_of_what_generators_know(name: str) -> None:
    for part in within(SCHEMAS[name]):
        assert "const" not in part, part
        # With exactly one of several, OpenAPI Generator's Go needs a validator of its own.
        assert "oneOf" not in part, part
        assert not isinstance(part.get("type"), list), part


def test_what_may_grow_in_answers_is_no_enumeration() -> None:
    # A generated client knows the values of its time, and refuses all others.
    assert "enum" not in SCHEMAS["WaitingFor"]["properties"]["reason"]
    assert "`retry_after`" in SCHEMAS["WaitingFor"]["properties"]["reason"]["description"]
    assert "enum" not in SCHEMAS["Finding"]["properties"]["check"]
    assert "enum" not in SCHEMAS["Subscription"]["properties"]["events"]["items"]
