"""Answers about the service itself."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from api.reference.answers.shape import Shape


class Alive(Shape):
    """The daemon answers."""

    status: Literal["ok"]


class ReadyCheck(Shape):
    """One thing that must work for the daemon to be ready."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it works."""
    detail: str
    """What is wrong and what to do; empty if nothing."""


class Readiness(Shape):
    """Whether the daemon can work."""

    status: Literal["ok", "unavailable"]
    """`unavailable` comes with the status 503."""
    checks: list[ReadyCheck]
    """All that was looked at."""


class OpenapiDocument(BaseModel):
    """An OpenAPI description (https://spec.openapis.org/oas/v3.1.1.html)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
