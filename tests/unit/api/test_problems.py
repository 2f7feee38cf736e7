import json

import pytest

from api.problems import FieldError, Problem, http_problem


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
