"""The API's documents agree with its code, and with themselves."""

# Covers api.reference.receiving and all of api.reference.answers.

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from pydantic import BaseModel, TypeAdapter

from api.docs import page
from api.openapi import Facts, document
from api.problems import Problem
from api.reference.answers.problems import ProblemDocument
from api.reference.catalogue import OPERATIONS
from api.reference.error_statuses import PROBLEMS
from api.reference.operation import JSON_TYPE, Operation
from api.reference.shell import pretty, shell_line
from daemon.signing.canonical import event_body
from daemon.signing.secrets import generate_secret, parse_secret
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, stamp
from daemon.uuid7 import uuid7
from tests.support.api_harness import TYPES, World

FACTS = Facts(TYPES, 1000)
PAGES = Path(__file__).parents[3] / "api" / "pages"
EXAMPLES = [
    pytest.param(operation, name, id=f"{operation.name}-{name}")
    for operation in OPERATIONS
    for name in operation.examples
]


def described() -> dict[str, Any]:
    return document(FACTS)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_is_described_and_the_other_way_round() -> None:
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in World().app().url_map.iter_rules()
        if rule.endpoint not in ("docs.asset", "docs.root")  # what the page is made of, and the way to it
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {
        (method.upper(), path.removesuffix("/"))
        for path, item in described()["paths"].items()
        for method in item
    }
    assert told == routes


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(described())):
        found: Any = described()
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_names_of_operations_are_unique_and_links_lead_to_them() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    by_name = {operation.name: operation for operation in OPERATIONS}
    for operation in OPERATIONS:
        for target, parameters in operation.links.items():
            assert set(parameters) <= {parameter.name for parameter in by_name[target].parameters}


def test_every_part_of_a_path_is_a_parameter_and_has_an_example() -> None:
    for operation in OPERATIONS:
        parts = {parameter.name for parameter in operation.parameters if parameter.place == "path"}
        assert parts == set(re.findall(r"{(\w+)}", operation.path))
        assert all(parameter.example for parameter in operation.parameters if parameter.place == "path")


def test_every_status_that_is_told_has_an_explanation() -> None:
    for operation in OPERATIONS:
        assert set(operation.every_problem()) <= set(PROBLEMS)


@pytest.mark.parametrize("status", PROBLEMS)
def test_examples_of_problems_are_problems(status: int) -> None:
    [content] = described()["components"]["responses"][str(status)]["content"].values()
    problem = ProblemDocument.model_validate_json(json.dumps(content["example"]))
    assert problem.status == status


def test_every_member_of_a_problem_is_described() -> None:
    problem = Problem(422, "invalid-line", "Correct it.", members={"line": 3, "accepted": 2, "ids": []})
    ProblemDocument.model_validate_json(problem.body("x"))


@pytest.mark.parametrize(("operation", "name"), EXAMPLES)
def test_examples_are_of_the_shape_that_is_described(operation: Operation, name: str) -> None:
    example = operation.examples[name]
    if example.body is not None and example.media_type == JSON_TYPE:
        TypeAdapter(operation.body[JSON_TYPE]).validate_python(example.body)
    if example.answer is not None:
        model = operation.answers[example.status].model
        TypeAdapter(model).validate_json(json.dumps(example.answer))
    known = {parameter.name for parameter in operation.parameters}
    assert set(example.query) | set(example.headers) <= known


def test_every_operation_has_an_example_for_each_good_answer_that_it_asks_for() -> None:
    for operation in OPERATIONS:
        assert operation.examples
        assert {example.status for example in operation.examples.values()} <= set(operation.answers)


def test_what_clients_send_and_get_is_explained_field_by_field() -> None:
    told = ("Registration", "Update", "Rotation", "ReplayRequest", "IncomingEvent", "TestRequest")
    for model in (*told, "Subscription", "Attempt", "Delivery", "Replay", "ProblemDocument"):
        for name, schema in described()["components"]["schemas"][model]["properties"].items():
            inner = schema.get("anyOf", [{}])[0]
            assert "description" in {**inner, **schema} or "$ref" in schema, f"{model}.{name}"


def test_descriptions_are_wrapped_by_who_shows_them() -> None:
    text = json.dumps(described()).replace("\\n\\n", "")
    assert "\\n" not in "".join(re.findall(r'"description": "((?:[^"\\]|\\.)*)"', text))
    words = re.sub(r"<pre.*?</pre>|<[^>]*>", "", page(FACTS).content.decode(), flags=re.DOTALL)
    assert "\\n" not in words


def test_receivers_are_told_of_each_type_what_they_get() -> None:
    strict = (
        b'{"$id": "urn:x", "type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}'
    )
    schemas = (
        ("a.b", strict),
        ("a.c", b'{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'),
        ("a_b", b'{"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}'),
    )
    told = document(Facts(("a.b", "a.c", "a_b"), 7, schemas, "X-Own-"))
    assert list(told["webhooks"]) == ["a.b", "a.c", "a_b", "webhook.test"]
    operations = [item["post"] for item in told["webhooks"].values()]
    assert [one["operationId"] for one in operations] == [
        "receiveAB",
        "receiveAC",
        "receiveAB2",
        "receiveWebhookTest",
    ]
    for event_type, operation in zip(told["webhooks"], operations, strict=True):
        [content] = operation["requestBody"]["content"].values()
        schema = told["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        judge = jsonschema_rs.validator_for(
            {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}
        )
        body = json.loads(event_body(uuid7(), event_type, {"n": 1}))
        judge.validate(body)
        assert judge.is_valid({**body, "data": {"n": "1"}}) is (event_type != "a.b")
        assert not judge.is_valid({**body, "type": "other"})
        names = {parameter["name"] for parameter in operation["parameters"]}
        stamped = stamp([parse_secret(generate_secret())], Message(uuid7(), uuid7(), event_type, 1, b""))
        sent = {name.decode() for name, _ in attempt_headers(stamped, HeaderSettings("X-Own-", "x"))}
        assert names == sent - {"content-type", "user-agent"}


def test_event_types_are_those_of_the_configuration() -> None:
    schemas = document(Facts(("a.b.c", "ping"), 7))["components"]["schemas"]
    assert schemas["IncomingEvent"]["properties"]["type"]["enum"] == ["a.b.c", "ping"]
    patterns = ["*", "a.b.c", "ping", "a.*", "a.b.*"]
    assert schemas["Registration"]["properties"]["events"]["items"]["enum"] == patterns
    body = document(Facts(("ping",), 7))["paths"]["/events"]["post"]["requestBody"]
    assert body["content"][JSON_TYPE]["schema"]["anyOf"][1]["maxItems"] == 7
    # one description does not leak into another
    assert described()["components"]["schemas"]["IncomingEvent"]["properties"]["type"]["enum"] == list(TYPES)
    schema = described()["paths"]["/events"]["post"]["requestBody"]["content"][JSON_TYPE]["schema"]
    assert schema["anyOf"][1]["maxItems"] == 1000


def test_what_may_be_absent_is_not_said_to_be_null() -> None:
    schema = described()["components"]["schemas"]["Registered"]
    assert schema["properties"]["secret"]["type"] == "string"
    assert "secret" not in schema["required"]


def test_a_short_value_stays_on_one_line() -> None:
    assert pretty({"a": [1, 2], "b": {"c": None}}) == '{\n  "a": [1, 2],\n  "b": {"c": null}\n}'
    value = {"long": ["x" * 40, "y" * 40], "empty": [], "text": 'with "quotes"'}
    assert json.loads(pretty(value)) == value


def test_a_shell_line_quotes_what_a_shell_would_read() -> None:
    operation = next(operation for operation in OPERATIONS if operation.name == "registerWebhook")
    line = shell_line(operation, operation.examples["everything"])
    assert """'{"X-Api""" not in line
    assert '"$HOOKD/webhooks/"' in line
    assert "$.country" in line.partition("-d '")[2]


class Links(HTMLParser):
    """Collects what a page refers to, and the identifiers that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.followed: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster"} or (tag == "link" and name == "href"):
                self.loaded.append(value or "")
            elif name == "href":
                self.followed.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and not dict(attrs).get("src")):
            self.inline.append(tag)


def test_the_page_loads_nothing_but_its_own_assets() -> None:
    links = Links()
    links.feed(page(FACTS).content.decode())
    assert sorted(links.loaded) == sorted(
        ["/docs/icon.svg", "/docs/docs.css", "/docs/docs.js", "/docs/icon.svg"]
    )
    assert not links.inline  # the policy forbids it
    for name in ("docs.css", "docs.js", "icon.svg"):
        text = (PAGES / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(", text.replace("// ", ""))


def test_the_page_has_what_it_points_to() -> None:
    links = Links()
    links.feed(page(FACTS).content.decode())
    assert len(set(links.ids)) == len(links.ids)
    targets = {link.removeprefix("#") for link in links.followed if link.startswith("#")}
    assert targets <= set(links.ids)
    assert {operation.name for operation in OPERATIONS} <= set(links.ids)
    others = {urlsplit(link).netloc for link in links.followed if "://" in link}
    assert others == {"www.standardwebhooks.com"}


def test_models_of_answers_forbid_what_they_do_not_know() -> None:
    for operation in OPERATIONS:
        for answer in operation.answers.values():
            model = answer.model
            if (
                isinstance(model, type)
                and issubclass(model, BaseModel)
                and model.__name__ != "OpenapiDocument"
            ):
                assert model.model_config["extra"] == "forbid"
