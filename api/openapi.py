"""The API's description as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), made from its own models.

Quart-Schema's decorators are not used: they describe every answer as application/json, put the headers of
answers where the standard has media types, and know neither examples nor a second media type, so that
problem documents, ETags and NDJSON could not be told.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from quart import Blueprint
from quart.wrappers import Response

from api.cacheable import Cacheable
from api.event_types import patterns
from api.problems import CONTENT_TYPE, Problem
from api.reference import receiving
from api.reference.answers.problems import ProblemDocument
from api.reference.catalogue import OPERATIONS, TAGS
from api.reference.error_statuses import PROBLEMS
from api.reference.operation import Answer, Operation, Parameter
from api.services import ApiSettings, Services

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/{model}"
_SCHEME = "token"
_ABOUT = """
Register where your organisation wants to hear of what happens, publish events, and look at every attempt to
deliver them. Requests are signed as Standard Webhooks 1.0 has it.

Every answer is JSON. Errors are `application/problem+json` (RFC 9457) and say what to do next. Identifiers
are UUIDs, times RFC 3339 in UTC. A slash at the end of a path never matters.
"""

_HEADERS: Mapping[str, tuple[str, str]] = {
    "X-Request-Id": ("Identifies the request; yours, if you sent one of visible ASCII.", "string"),
    "ETag": ("The version of what is shown, for `If-Match` and `If-None-Match`.", "string"),
    "Location": ("Where the new resource is.", "string"),
    "Link": ('The next page, as `rel="next"` (RFC 8288). Absent on the last.', "string"),
    "RateLimit": ("What is left of your organisation's rate. Absent where there is no limit.", "string"),
    "RateLimit-Policy": ("Your organisation's rate. Absent where there is no limit.", "string"),
    "Retry-After": ("Seconds to wait before you send the request again.", "integer"),
    "WWW-Authenticate": ("What the token lacks (RFC 6750).", "string"),
}
_ALWAYS = {"X-Request-Id", "ETag", "Location"}

# Fields that hold names of event types, and those that may hold patterns of them: both are configured.
_TYPE_FIELDS = (("IncomingEvent", "type"),)
_PATTERN_FIELDS = (("Registration", "events"), ("Update", "events"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the description takes from the configuration."""

    event_types: tuple[str, ...]
    max_batch: int
    schemas: tuple[tuple[str, bytes], ...] = ()
    header_prefix: str = "X-Alter-"

    @classmethod
    def of(cls, settings: ApiSettings) -> "Facts":
        """Return the facts of the moment."""
        return cls(
            tuple(settings.event_types),
            settings.max_batch,
            tuple(sorted(settings.schemas.texts.items())),
            settings.header_prefix,
        )


def blueprint(services: Services) -> Blueprint:
    """Return the route /openapi.json; it needs no token."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    async def openapi() -> Response:
        return _served(Facts.of(services.settings())).answer()

    return routes


@lru_cache(maxsize=4)
def document(facts: Facts) -> Json:
    """Return the description; nobody may change it."""
    document = _Writer(facts).document()
    _unwrap(document)
    return document


@lru_cache(maxsize=4)
def _served(facts: Facts) -> Cacheable:
    text = json.dumps(document(facts), separators=(",", ":"), ensure_ascii=False)
    return Cacheable(text.encode(), "application/json")


class _Generator(GenerateJsonSchema):
    """Pydantic's, but without titles that repeat a name, defaults, and constants.

    Clients are generated from it. openapi-typescript makes a field with a default required, and others send
    defaults that nobody asked for; `const` is not known to all.
    """

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        told = super().literal_schema(schema)
        if "const" in told:
            told["enum"] = [told.pop("const")]
        return told


class _Writer:
    """Writes one description."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        models = {repr(model): model for operation in OPERATIONS for model in _models(operation)}
        models[repr(ProblemDocument)] = ProblemDocument
        found, shared = TypeAdapter.json_schemas(
            [(name, "validation", TypeAdapter(model)) for name, model in models.items()],
            ref_template=_SCHEMAS,
            schema_generator=_Generator,
        )
        self._of_model = {name: schema for (name, _), schema in found.items()}
        self._shared: Json = shared["$defs"]

    def document(self) -> Json:
        paths: dict[str, Json] = {}
        for operation in OPERATIONS:
            paths.setdefault(operation.path, {})[operation.method.lower()] = self._operation(operation)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "hookd",
                "version": _version(),
                "summary": "Webhooks that arrive.",
                "description": _ABOUT.strip(),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "This server"}],
            "tags": [
                {"name": name, "description": about}
                for name, about in {**TAGS, receiving.TAG: receiving.ABOUT}.items()
            ],
            "paths": paths,
            "webhooks": receiving.webhooks(self._facts.event_types, self._facts.header_prefix),
            "components": {
                "schemas": self._schemas(),
                "responses": {str(status): _problem(status) for status in sorted(_told())},
                "headers": {name: _header(name) for name in _HEADERS},
                "securitySchemes": {
                    _SCHEME: {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "A JSON Web Token with the claims `exp`, `sub`, `org_id` and `roles`.",
                    }
                },
            },
        }

    def _schemas(self) -> Json:
        schemas = {**self._shared}
        for model, name in _TYPE_FIELDS:
            _field(schemas, model, name)["enum"] = list(self._facts.event_types)
        for model, name in _PATTERN_FIELDS:
            _items(_field(schemas, model, name))["enum"] = patterns(self._facts.event_types)
        schemas |= receiving.event_schemas(self._facts.event_types, dict(self._facts.schemas))
        return dict(sorted(schemas.items()))

    def _operation(self, operation: Operation) -> Json:
        told: Json = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": operation.description,
            "security": _security(operation),
            "parameters": [_parameter(parameter) for parameter in operation.parameters],
            "responses": {
                **{
                    str(status): self._answer(operation, status, answer)
                    for status, answer in operation.answers.items()
                },
                **{
                    str(status): {"$ref": f"#/components/responses/{status}"}
                    for status in operation.every_problem()
                    if status not in operation.answers
                },
            },
        }
        if operation.body:
            told["requestBody"] = {
                "required": operation.body_required,
                "content": {
                    media_type: {
                        "schema": self._bounded(model),
                        "examples": {
                            name: {"summary": example.summary, "value": example.body}
                            for name, example in operation.examples.items()
                            if example.media_type == media_type and example.body is not None
                        },
                    }
                    for media_type, model in operation.body.items()
                },
            }
        return told

    def _bounded(self, model: Any) -> Json:
        schema = self._of_model[repr(model)]
        for choice in schema.get("anyOf", ()):
            if choice.get("type") == "array":
                choice["maxItems"] = self._facts.max_batch
        return schema

    def _answer(self, operation: Operation, status: int, answer: Answer) -> Json:
        names = ["X-Request-Id", *answer.headers]
        if operation.roles is not None:
            names += ["RateLimit", "RateLimit-Policy"]
        told: Json = {"description": answer.description, "headers": _header_refs(names)}
        if answer.model is not None:
            content: Json = {"schema": self._of_model[repr(answer.model)]}
            examples = {
                name: {"summary": example.summary, "value": example.answer}
                for name, example in operation.examples.items()
                if example.status == status and example.answer is not None
            }
            if examples:
                content["examples"] = examples
            told["content"] = {answer.media_type: content}
        if operation.links and status == max(operation.answers):
            told["links"] = {
                name: {"operationId": name, "parameters": dict(parameters)}
                for name, parameters in operation.links.items()
            }
        return told


def _unwrap(told: Any) -> None:
    """Take the line breaks out of the paragraphs of all descriptions, which docstrings are wrapped by."""
    for key, value in told.items() if isinstance(told, dict) else enumerate(told):
        if key == "description" and isinstance(value, str):
            told[key] = "\n\n".join(" ".join(part.split("\n")) for part in value.split("\n\n"))
        elif isinstance(value, dict | list):
            _unwrap(value)


def _models(operation: Operation) -> list[Any]:
    answers = [answer.model for answer in operation.answers.values() if answer.model is not None]
    return [*operation.body.values(), *answers]


def _told() -> set[int]:
    return {status for operation in OPERATIONS for status in operation.every_problem()}


def _field(schemas: Json, model: str, name: str) -> Json:
    """Return the schema of a field, in a copy that may be changed."""
    schemas[model] = {**schemas[model], "properties": dict(schemas[model]["properties"])}
    properties = schemas[model]["properties"]
    properties[name] = dict(properties[name])
    field: Json = properties[name]
    return field


def _items(schema: Json) -> Json:
    """Return the schema of a list's items, or of those of the list that may also be null."""
    if "anyOf" in schema:
        return _items(next(choice for choice in schema["anyOf"] if choice.get("type") == "array"))
    schema["items"] = dict(schema["items"])
    items: Json = schema["items"]
    return items


def _parameter(parameter: Parameter) -> Json:
    told: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.example is not None:
        told["example"] = parameter.example
    return told


def _security(operation: Operation) -> list[Json]:
    if operation.roles is None:
        return []
    return [{_SCHEME: [role]} for role in operation.roles] or [{_SCHEME: []}]


def _problem(status: int) -> Json:
    told = PROBLEMS[status]
    example = Problem(status, told.kind, told.detail).document("018f6d22-5c1e-7b90-b1de-4a3f7c2e9d08")
    if told.errors:
        example["errors"] = [dict(error) for error in told.errors]
    return {
        "description": told.when,
        "headers": _header_refs(["X-Request-Id", *told.headers]),
        "content": {
            CONTENT_TYPE: {"schema": {"$ref": _SCHEMAS.format(model="ProblemDocument")}, "example": example}
        },
    }


def _header(name: str) -> Json:
    description, kind = _HEADERS[name]
    return {"description": description, "required": name in _ALWAYS, "schema": {"type": kind}}


def _header_refs(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _version() -> str:
    try:
        return version("hookd")
    except PackageNotFoundError:  # run from a source tree
        return "0"
