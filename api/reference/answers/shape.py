"""What all answers have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict

MAY_BE_ABSENT: Any = None


class Shape(BaseModel):
    """Base of all: knows no other fields than its own, so that tests find what is not described.

    The documents say the opposite, in so many words, for clients must take fields that are new to them: where
    nothing is said, OpenAPI Generator's Go and Java refuse such answers.
    """

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"additionalProperties": True}
    )


class Phases(Shape):
    """Milliseconds after the beginning at which each phase ended; null for one that was not reached or
    needed."""

    dns_ms: float | None
    """The name was looked up."""
    connect_ms: float | None
    """The connection was made."""
    tls_ms: float | None
    """TLS was agreed on."""
    first_byte_ms: float | None
    """The first byte of the answer came."""
