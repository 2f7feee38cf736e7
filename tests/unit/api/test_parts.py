"""The API's pure parts: problems, request ids, event types, pointers, media types."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from api.bodies import check_media_type, pointer
from api.event_types import pattern_refusal, refusal
from api.problems import FieldError, Problem, http_problem
from api.request_ids import request_id

KNOWN = ["placement.created", "placement.updated", "match.proposed", "ping"]


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 415, 431, 500, 501, 503, 505, 418])
def test_a_problem_has_all_its_members(status: int) -> None:
    document = json.loads(http_problem(status).body("id-1"))
    assert document["status"] == status
    assert document["request_id"] == "id-1"
    assert set(document) == {"type", "title", "status", "detail", "request_id"}
    assert document["detail"].endswith(".")


def test_errors_are_listed_where_there_are_any() -> None:
    problem = Problem(422, "invalid-fields", "Correct it.", [FieldError("/a", "is wrong")])
    assert problem.document("x")["errors"] == [{"pointer": "/a", "detail": "is wrong"}]
    assert problem.document("x")["title"] == "Invalid fields"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_visible_ascii_is_kept_as_a_request_id(text: str) -> None:
    assert request_id(text) == text


@given(st.one_of(st.none(), st.text(max_size=5).filter(lambda text: not text.isascii()), st.just("x" * 129)))
def test_anything_else_gets_a_new_one(offered: str | None) -> None:
    first, second = request_id(offered), request_id(offered)
    assert first != second
    assert first.isascii()


@pytest.mark.parametrize("offered", ["", "a b", "a\tb", "a\x7f", "a\r\nb"])
def test_blanks_and_controls_get_a_new_one(offered: str) -> None:
    assert request_id(offered) != offered


@pytest.mark.parametrize("pattern", ["*", "placement.*", "match.*", "ping", "match.proposed"])
def test_known_types_and_groups_are_patterns(pattern: str) -> None:
    assert pattern_refusal(pattern, KNOWN) is None


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("placment.*", '"placement.*"'),
        ("match.propose", '"match.proposed"'),
        ("place*", "GET /webhooks/events"),
        (".*", "GET /webhooks/events"),
        ("**", "GET /webhooks/events"),
        ("", "GET /webhooks/events"),
        ("x" * 100_000, "GET /webhooks/events"),
    ],
)
def test_other_patterns_are_refused_with_a_hint(pattern: str, hint: str) -> None:
    assert hint in (pattern_refusal(pattern, KNOWN) or "")


def test_a_pattern_is_no_type_of_an_event() -> None:
    assert refusal("placement.*", KNOWN)
    assert refusal("*", KNOWN)
    assert refusal("ping", KNOWN) is None


def test_pointers_escape() -> None:
    assert pointer() == ""
    assert pointer("a/b", 0, "~") == "/a~1b/0/~0"


@pytest.mark.parametrize(
    "value", ["application/json", "Application/JSON; charset=utf-8", 'application/json; charset="UTF-8"']
)
def test_json_is_a_media_type_that_is_read(value: str) -> None:
    check_media_type(Headers({"Content-Type": value}))


@pytest.mark.parametrize(
    "value", ["", "text/json", "application/json; charset=utf-16", "application/x-ndjson", ";"]
)
def test_other_media_types_are_refused(value: str) -> None:
    with pytest.raises(Problem) as caught:
        check_media_type(Headers({"Content-Type": value}))
    assert caught.value.status == 415
