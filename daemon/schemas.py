"""JSON Schemas of event types: read from files when the daemon starts, and what breaks them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs

from daemon.explained_error import ExplainedError
from daemon.signing.canonical import JSON, Unrepresentable, canonical, parse

_DEEPEST_SCHEMA = 200  # levels
_MAX_MESSAGE_LENGTH = 200  # characters
_MAX_EXPLAINED_SIZE = 64 * 1024  # bytes
_EXACT_DIGITS = 640  # as in daemon.signing.canonical


class SchemaError(ExplainedError):
    """A schema's file cannot be used; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class SchemaViolation:
    """Where data breaks its type's schema, as a JSON Pointer (RFC 6901) into the data, and what to do."""

    pointer: str
    advice: str


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas by event type; a type without one takes any data. Two are equal if their files were."""

    texts: Mapping[str, bytes] = field(default_factory=dict)
    _validators: Mapping[str, jsonschema_rs.Validator] = field(default_factory=dict, compare=False)

    def violation(self, event_type: str, data: JSON, size: int) -> SchemaViolation | None:
        """Return the first place where `data` breaks the schema of its type; None where it does not.

        In data of more than 64 KiB (`size`, bytes of its text) the place is not looked for: for each branch
        of an `anyOf` the library would list all that does not fit, in time and memory without bound.
        """
        validator = self._validators.get(event_type)
        if validator is None:
            return None
        try:
            data, valid = _judged(validator, data)
            if valid:
                return None
            if size > _MAX_EXPLAINED_SIZE:
                return SchemaViolation(
                    "", "breaks the type's schema; check it against that before it is sent"
                )
            validator.validate(data)  # once more, as only this tells the place
        except jsonschema_rs.ValidationError as error:
            message = error.message
            if len(message) > _MAX_MESSAGE_LENGTH:
                message = message[: _MAX_MESSAGE_LENGTH - 1] + "…"
            return SchemaViolation(
                _pointer(error.instance_path), f"breaks the type's schema: {message}; correct it"
            )
        except ValueError:
            return SchemaViolation(
                "", "holds an integer too long for the type's schema to judge; send it as a string"
            )
        return None


def load_schemas(files: Mapping[str, str]) -> Schemas:
    """Return the schemas in `files` (paths, by event type). Error: `SchemaError`.

    Without `$schema` they are of draft 2020-12. Nothing is fetched: a `$ref` may lead to the same file or to
    the drafts themselves. A `format` that the drafts know is checked.
    """
    texts = {event_type: _read(Path(name)) for event_type, name in files.items()}
    return Schemas(
        texts, {event_type: _validator(files[event_type], text) for event_type, text in texts.items()}
    )


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise SchemaError(
                f"{path}: is not a regular file: name the file with the schema in events.schemas"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise SchemaError(
            f"{path}: there is no such file: make it, or correct events.schemas (a relative path begins in"
            " the working directory)"
        ) from None
    except OSError as error:
        raise SchemaError(
            f"{path}: cannot be read ({error.strerror}): let the user that runs hookd read it"
        ) from None


def _validator(name: str, text: bytes) -> jsonschema_rs.Validator:
    try:
        schema = parse(text, max_depth=_DEEPEST_SCHEMA, unique_keys=True)
    except Unrepresentable as error:
        raise SchemaError(f"{name}: not a JSON Schema: {error.reason}") from None
    if not isinstance(schema, dict | bool):
        raise SchemaError(f"{name}: not a JSON Schema: write an object such as {{}} into it")
    try:
        # Data may be secret: what breaks a rule is told with the word "value" in its place.
        return jsonschema_rs.validator_for(schema, validate_formats=True, offline=True, mask="value")
    except jsonschema_rs.ValidationError as error:
        where = _pointer(error.instance_path)
        place = f" at {json.dumps(where)}" if where else ""
        raise SchemaError(
            f"{name}: not a JSON Schema{place}: {error.message}: correct it there"
            " (references to other files or hosts are not followed)"
        ) from None
    except ValueError as error:
        raise SchemaError(f"{name}: not a JSON Schema: {error}: correct it") from None


def _judged(validator: jsonschema_rs.Validator, data: JSON) -> tuple[Any, bool]:
    """Return `data` in a form that the library takes, and whether it fits. Error: ValueError."""
    try:
        return data, validator.is_valid(data)
    except ValueError:  # an integer that is kept as its digits; up to some thousand of them can be judged
        data = json.loads(canonical(data), parse_int=_number)
        return data, validator.is_valid(data)


def _number(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _EXACT_DIGITS else Decimal(digits)


def _pointer(parts: list[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
