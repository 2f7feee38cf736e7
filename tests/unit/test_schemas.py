import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.schemas import SchemaError, Schemas, SchemaViolation, load_schemas
from daemon.signing.canonical import canonical, parse

TYPE = "match.proposed"
MATCH = {
    "type": "object",
    "properties": {
        "score": {"type": "number", "maximum": 1},
        "when": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "a/b~c": {"type": "null"},
    },
    "required": ["score"],
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def schemas(tmp_path: Path, schema: object) -> Schemas:
    path = tmp_path / "schema.json"
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return load_schemas({TYPE: str(path)})


def violation(tmp_path: Path, schema: object, data: Any) -> SchemaViolation | None:
    return schemas(tmp_path, schema).violation(TYPE, data, len(canonical(data)))


def test_data_that_fits_passes(tmp_path: Path) -> None:
    assert violation(tmp_path, MATCH, {"score": 0.5, "when": "2026-03-10T10:00:00Z", "more": [1]}) is None


def test_a_type_without_schema_takes_any_data(tmp_path: Path) -> None:
    assert schemas(tmp_path, MATCH).violation("placement.created", 7, 1) is None
    assert Schemas().violation(TYPE, 7, 1) is None


@pytest.mark.parametrize(
    ("data", "pointer", "told"),
    [
        (7, "", 'not of type "object"'),
        ({}, "", '"score" is a required property'),
        ({"score": 2}, "/score", "maximum of 1"),
        ({"score": 0, "when": "yesterday"}, "/when", '"date-time"'),
        ({"score": 0, "tags": ["a", "c"]}, "/tags/1", "is not one of"),
        ({"score": 0, "a/b~c": 1}, "/a~1b~0c", '"null"'),
    ],
)
def test_a_misfit_is_named_with_its_place(tmp_path: Path, data: Any, pointer: str, told: str) -> None:
    found = violation(tmp_path, MATCH, data)
    assert found is not None
    assert found.pointer == pointer
    assert told in found.advice


def test_the_values_themselves_are_not_told(tmp_path: Path) -> None:
    found = violation(tmp_path, {"properties": {"card": {"type": "integer"}}}, {"card": "4111-1111"})
    assert found is not None
    assert "4111" not in found.advice


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    found = violation(tmp_path, {"additionalProperties": False}, {"x" * 5000: 1})
    assert found is not None
    assert len(found.advice) < 300


def test_the_drafts_differ_as_they_should(tmp_path: Path) -> None:
    tuple_of_old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    assert violation(tmp_path, tuple_of_old, [1]) is not None
    assert violation(tmp_path, {"prefixItems": [{"type": "string"}]}, [1]) is not None


def test_references_within_the_file_are_followed(tmp_path: Path) -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}
    found = violation(tmp_path, tree, [[], [[], [7]]])
    assert found is not None
    assert found.pointer == "/1/1/0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("", "empty"),
        ("[1]", "write an object"),
        ('"x"', "write an object"),
        ('{"type": "object", "type": "array"}', "key twice"),
        ('{"type": "objekt"}', 'at "/type"'),
        ('{"pattern": "("}', 'at "/pattern"'),
        ('{"$ref": "https://example.com/x.json"}', "not followed"),
        ('{"$ref": "file:///etc/passwd"}', "not followed"),
        ('{"$ref": "other.json"}', "not followed"),
        ('{"$ref": "#/$defs/none"}', "does not exist"),
        ('{"$id": "https://example.com/a", "$ref": "b"}', "not followed"),
        ('{"$schema": "https://example.com/own"}', "meta-schema"),
        ('{"maximum": ' + "9" * 1000 + "}", "correct it"),
    ],
)
def test_a_bad_schema_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SchemaError) as error:
        schemas(tmp_path, text)
    assert str(tmp_path / "schema.json") in str(error.value)
    assert told in str(error.value)


def test_a_missing_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"gone.json: there is no such file: make it, or correct"):
        load_schemas({TYPE: str(tmp_path / "gone.json")})
    with pytest.raises(SchemaError, match="not a regular file"):
        load_schemas({TYPE: str(tmp_path)})


def test_long_integers_are_judged_up_to_a_length(tmp_path: Path) -> None:
    small = {"properties": {"n": {"type": "integer", "maximum": 10}}}
    for digits, place in [(700, "/n"), (100_000, "")]:
        data = parse('{"n": ' + "9" * digits + "}", max_depth=2)
        found = violation(tmp_path, small, data)
        assert found is not None
        assert found.pointer == place
    assert violation(tmp_path, small, parse('{"n": -' + "9" * 700 + "}", max_depth=2)) is None


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?=a)(a|aa)+$", "^(a+)+\\1$"])
def test_no_pattern_takes_forever(tmp_path: Path, pattern: str) -> None:
    assert violation(tmp_path, {"pattern": pattern}, "a" * 5000 + "!") is not None


def test_where_much_is_wrong_with_much_data_little_is_told(tmp_path: Path) -> None:
    schema = {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}
    found = violation(tmp_path, schema, [1] * 500_000)
    assert found is not None
    assert (found.pointer, "check it" in found.advice) == ("", True)


def test_what_is_read_from_the_same_text_is_the_same(tmp_path: Path) -> None:
    first, second = schemas(tmp_path, MATCH), schemas(tmp_path, MATCH)
    assert first == second
    assert first != schemas(tmp_path, {})


@given(
    VALUES, st.sampled_from([MATCH, {"uniqueItems": True}, {"format": "date-time"}, {"contains": {}}, False])
)
def test_no_data_upsets_it(tmp_path_factory: pytest.TempPathFactory, data: Any, schema: object) -> None:
    found = violation(tmp_path_factory.getbasetemp(), schema, data)
    assert found is None or isinstance(found.pointer, str)
