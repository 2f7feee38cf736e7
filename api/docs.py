"""The API for people: one page, made from the OpenAPI description, that needs no script and no other host."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from quart import Blueprint
from quart.wrappers import Response

from api.cacheable import Cacheable
from api.openapi import Facts, document
from api.problems import CONTENT_TYPE, http_problem
from api.quart_app import no_content
from api.reference.catalogue import OPERATIONS, TAGS
from api.reference.operation import JSON_TYPE, Example, Operation
from api.reference.shell import pretty, shell_line
from api.services import Services

_PAGES = Path(__file__).parent / "pages"
_ASSETS = {"docs.css": "text/css", "docs.js": "text/javascript", "icon.svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
_MAX_VALUES = 16

_JSON = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<str>"(?:[^"\\]|\\.)*")'
    r"|(?P<num>-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|(?P<word>\b(?:true|false|null)\b)"
)
_CODE = re.compile(
    r'(?P<str>"[^"\n]*")|(?P<word>\b(?:from|import|def|try|except|return|const|let|catch|func|if|var)\b)'
)
_SHELL = re.compile(
    r"(?P<str>'(?:[^'\\]|\\.|'\\'')*'|\"[^\"]*\")|(?P<word>\bcurl\b)|(?P<key>(?<=\s)--?[a-zA-Z][\w-]*)"
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One field or parameter as the page lists it; `depth` is that of nested fields."""

    name: str
    kind: str
    description: str
    required: bool
    values: tuple[str, ...]
    bounds: str
    depth: int = 0


def blueprint(services: Services) -> Blueprint:
    """Return the routes /docs and its assets, and the way there from /; they need no token."""
    routes = Blueprint("docs", __name__)

    @routes.get("/")
    async def root() -> Response:
        return no_content(302, {"Location": "/docs", "Content-Length": "0"})

    @routes.get("/docs")
    async def docs() -> Response:
        return page(Facts.of(services.settings())).answer()

    @routes.get("/docs/<name>")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise http_problem(404)
        return _asset(name).answer()

    return routes


@lru_cache(maxsize=4)
def page(facts: Facts) -> Cacheable:
    """Return the page."""
    text = _environment().get_template("docs.html").render(_view(document(facts)))
    return Cacheable(text.encode(), "text/html; charset=utf-8", _HEADERS)


@lru_cache(maxsize=len(_ASSETS))
def _asset(name: str) -> Cacheable:
    return Cacheable((_PAGES / name).read_bytes(), _ASSETS[name] + "; charset=utf-8", _HEADERS)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        prose=_prose, words=_words, path=_path, json=_json, shell=_shell, source=_source
    )
    return environment


def _view(described: Json) -> Json:
    """Return what the template speaks of."""
    reader = _Reader(described)
    tags = [
        {
            "name": tag["name"],
            "slug": tag["name"].lower(),
            "description": tag["description"],
            "operations": [
                _operation(reader, operation) for operation in OPERATIONS if operation.tag == tag["name"]
            ],
        }
        for tag in described["tags"]
        if tag["name"] in TAGS
    ]
    problems = [
        {"status": int(status), "phrase": _phrase(int(status)), "when": told["description"]}
        for status, told in described["components"]["responses"].items()
    ]
    start = {
        "register": _first_line("registerWebhook"),
        "publish": _first_line("publishEvents"),
        "list": _first_line("listWebhooks"),
        "attempt": pretty(
            next(one for one in OPERATIONS if one.name == "listDeliveries")
            .examples["attempts"]
            .answer["data"][0]
        ),
        "problem": pretty(described["components"]["responses"]["422"]["content"][CONTENT_TYPE]["example"]),
    }
    return {"info": described["info"], "tags": tags, "problems": problems, "start": start}


def _first_line(name: str) -> str:
    """Return the shell line of an operation's first example."""
    operation = next(operation for operation in OPERATIONS if operation.name == name)
    return shell_line(operation, next(iter(operation.examples.values())))


def _operation(reader: "_Reader", operation: Operation) -> Json:
    told = reader.operation(operation)
    answers = [
        {
            "status": int(status),
            "phrase": _phrase(int(status)),
            "description": answer["description"],
            "rows": list(reader.answer_rows(answer)),
            "headers": [
                (name, reader.resolved(header)["description"])
                for name, header in answer["headers"].items()
                if name not in {"X-Request-Id", "RateLimit", "RateLimit-Policy"}
            ],
        }
        for status, answer in told["responses"].items()
        if "$ref" not in answer
    ]
    problems = [
        {
            "status": int(status),
            "phrase": _phrase(int(status)),
            "when": reader.resolved(answer)["description"],
        }
        for status, answer in told["responses"].items()
        if "$ref" in answer
    ]
    return {
        "id": operation.name,
        "method": operation.method,
        "path": operation.path,
        "summary": operation.summary,
        "description": operation.description,
        "roles": None if operation.roles is None else [str(role) for role in operation.roles],
        "parameters": [
            (place, rows)
            for place in ("path", "query", "header")
            if (rows := [reader.parameter_row(one) for one in told["parameters"] if one["in"] == place])
        ],
        "body": list(reader.body_rows(told)),
        "answers": answers,
        "problems": problems,
        "examples": [_example(operation, example) for example in operation.examples.values()],
    }


def _example(operation: Operation, example: Example) -> Json:
    answer = None
    if example.answer is not None:
        answer = pretty(example.answer)
    return {
        "summary": example.summary,
        "curl": shell_line(operation, example),
        "status": example.status,
        "phrase": _phrase(example.status),
        "answer": answer,
    }


class _Reader:
    """Reads the description for people."""

    def __init__(self, described: Json) -> None:
        self._described = described

    def operation(self, operation: Operation) -> Json:
        told: Json = self._described["paths"][operation.path][operation.method.lower()]
        return told

    def resolved(self, schema: Json) -> Json:
        """Return what a reference leads to, or the schema itself."""
        while "$ref" in schema:
            found: Any = self._described
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def parameter_row(self, parameter: Json) -> Row:
        schema = parameter["schema"]
        return self._row(parameter["name"], schema, parameter["required"], 0, parameter["description"])

    def body_rows(self, told: Json) -> Iterator[Row]:
        content = told.get("requestBody", {}).get("content", {})
        for media_type in (JSON_TYPE, *content):
            if media_type in content:
                yield from self._rows(content[media_type]["schema"], "", 0)
                return

    def answer_rows(self, answer: Json) -> Iterator[Row]:
        for content in answer.get("content", {}).values():
            yield from self._rows(content["schema"], "", 0)

    def _rows(self, schema: Json, prefix: str, depth: int) -> Iterator[Row]:
        schema, many = self._object_in(self.resolved(schema))
        if many and depth:
            prefix = prefix.removesuffix(".") + "[]."
        required = schema.get("required", ())
        for name, field in schema.get("properties", {}).items():
            yield self._row(prefix + name, field, name in required, depth)
            yield from self._rows(field, f"{prefix}{name}.", depth + 1)

    def _object_in(self, schema: Json) -> tuple[Json, bool]:
        """Return the object that a value is, or is a list of, and which of the two."""
        schema = self.resolved(schema)
        if choices := [self.resolved(choice) for choice in _choices(schema)]:
            objects = [choice for choice in choices if "properties" in choice]
            lists = [choice for choice in choices if choice.get("type") == "array"]
            if len(objects) > 1:  # one or the other: all that either has
                fields = {name: field for choice in objects for name, field in choice["properties"].items()}
                return {"properties": fields}, False
            return self._object_in((objects or lists or [{}])[0])
        if schema.get("type") == "array":
            return self._object_in(schema["items"])[0], True
        return schema, False

    def _row(self, name: str, schema: Json, required: bool, depth: int, description: str = "") -> Row:
        described = self.resolved(schema)
        own = schema.get("description") or description or self._inner_description(schema)
        values, bounds = self._values(described), _bounds(self._concrete(described))
        return Row(name, self._kind(schema), own, required, values, bounds, depth)

    def _inner_description(self, schema: Json) -> str:
        """Return what is said of a value where it is not null."""
        described = [choice.get("description", "") for choice in _choices(schema) if "$ref" not in choice]
        return next(filter(None, described), "")

    def _concrete(self, schema: Json) -> Json:
        """Return the schema of a value that is not null."""
        schema = self.resolved(schema)
        for choice in _choices(schema):
            if choice.get("type") != "null":
                return {
                    **self._concrete(choice),
                    **{key: schema[key] for key in ("default",) if key in schema},
                }
        return schema

    def _values(self, schema: Json) -> tuple[str, ...]:
        schema = self._concrete(schema)
        if schema.get("type") == "array":
            schema = self._concrete(schema["items"])
        values = [json.dumps(value).strip('"') for value in schema.get("enum", ())]
        if "const" in schema:
            values = [json.dumps(schema["const"]).strip('"')]
        return (*values[:_MAX_VALUES], *(["…"] if len(values) > _MAX_VALUES else []))

    def _kind(self, schema: Json) -> str:
        schema = self.resolved(schema)
        if kinds := [self._kind(choice) for choice in _choices(schema)]:
            return " or ".join(dict.fromkeys(kinds))
        kind = schema.get("type", "any JSON value")
        if kind == "array":
            return "array of " + self._kind(schema["items"])
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return "map of " + self._kind(schema["additionalProperties"])
        return {"uuid": "UUID", "date-time": "time"}.get(schema.get("format", ""), str(kind))


def _choices(schema: Json) -> Sequence[Json]:
    return schema.get("anyOf") or schema.get("oneOf") or ()


def _bounds(schema: Json) -> str:
    told = []
    for lower, upper, unit in (
        ("minimum", "maximum", ""),
        ("exclusiveMinimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        low, high = schema.get(lower), schema.get(upper)
        above = "above " if lower == "exclusiveMinimum" else ""
        if low is not None and high is not None:
            told.append(f"{above}{low:,} to {high:,}{unit}")
        elif high is not None and lower != "exclusiveMinimum" and "exclusiveMinimum" not in schema:
            told.append(f"at most {high:,}{unit}")
        elif low is not None:
            told.append(f"{above or 'at least '}{low:,}{unit}")
    if schema.get("default") is not None:
        told.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(told)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _prose(text: str) -> Markup:
    """Return text as paragraphs."""
    paragraphs = [Markup("<p>{}</p>").format(_words(part)) for part in text.split("\n\n")]
    return Markup("\n").join(paragraphs)


def _words(text: str) -> Markup:
    """Return text in which what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


def _path(text: str) -> Markup:
    """Return a path that breaks where a part of it ends, on a screen that is too narrow for it."""
    return Markup("/<wbr>").join(text.split("/"))


def _json(text: str) -> Markup:
    return _coloured(text, _JSON)


def _shell(text: str) -> Markup:
    return _coloured(text, _SHELL)


def _source(text: str) -> Markup:
    return _coloured(text, _CODE)


def _coloured(text: str, pattern: re.Pattern[str]) -> Markup:
    pieces: list[Markup] = []
    at = 0
    for match in pattern.finditer(text):
        pieces.append(escape(text[at : match.start()]))
        pieces.append(Markup('<span class="{}">{}</span>').format(f"c-{match.lastgroup}", match[0]))
        at = match.end()
    return Markup("").join([*pieces, escape(text[at:])])
