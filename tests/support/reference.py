"""What the documents of the API say, for tests that hold the daemon to it."""

from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema_rs

from api.reference.operation import Operation

_UNDESCRIBED = {"OpenapiDocument"}


class Reference:
    """The OpenAPI document as a daemon serves it.

    Clients are told to take fields that they do not know; answers are held to those that are described.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        schemas = {
            name: {**schema, "additionalProperties": False} if name not in _UNDESCRIBED else schema
            for name, schema in document["components"]["schemas"].items()
        }
        self._document = {**document, "components": {**document["components"], "schemas": schemas}}

    def check(self, operation: Operation, answer: httpx.Response) -> None:
        """Raise AssertionError unless the answer is one that the document tells of."""
        told = self._document["paths"][operation.path][operation.method.lower()]["responses"]
        assert str(answer.status_code) in told, (
            f"{operation.name} answers {answer.status_code}: {answer.text}"
        )
        response = self._resolved(told[str(answer.status_code)])
        for name, header in response["headers"].items():
            if self._resolved(header)["required"]:
                assert name in answer.headers, f"{operation.name} lacks {name}"
        if "content" not in response:
            assert not answer.content, operation.name
            return
        [(media_type, content)] = response["content"].items()
        assert answer.headers["content-type"].partition(";")[0] == media_type, operation.name
        value = answer.json() if media_type.endswith("json") else answer.text
        schema = {**content["schema"], "components": self._document["components"]}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]
        assert not errors, f"{operation.name}: {errors}"

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            found: Any = self._document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value


class Samples(HTMLParser):
    """The code that a page shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "pre":
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data
