"""Pointers and media types; how bodies are read stands in tests/integration/api/test_intake.py."""

import pytest
from werkzeug.datastructures import Headers

from api.bodies import check_media_type, pointer
from api.problems import Problem


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
