"""What an operation of the API is, as its documents tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daemon.model import Role

JSON_TYPE = "application/json"
ANYBODY: tuple[Role, ...] = ()
"""The `roles` of an operation that any good token may call."""
READERS = tuple(Role)
"""Those of one for any role of the organisation."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `place` is "path", "query" or "header", `schema` a JSON Schema."""

    name: str
    place: str
    description: str
    schema: Mapping[str, Any]
    example: Any = None

    @property
    def required(self) -> bool:
        """Whether a request without it is refused; only parts of the path are that."""
        return self.place == "path"


@dataclass(frozen=True, slots=True)
class Example:
    """One request and the answer to it. `query` and `headers` are those that it needs besides the token.

    `body` is a JSON value, or the text of another media type.
    """

    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its media type and the Python type whose JSON Schema describes it; None for no body."""

    description: str
    model: Any = None
    media_type: str = JSON_TYPE
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `roles` None: no token; several: any of them.

    `body` has the Python type of each media type that is taken. `problems` are the statuses of errors that
    may occur besides those which every operation of its kind has.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    roles: tuple[Role, ...] | None = READERS
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    answers: Mapping[int, Answer]
    problems: Sequence[int] = ()
    examples: Mapping[str, Example]
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def every_problem(self) -> list[int]:
        """Return the statuses of all errors that may occur."""
        found = set(self.problems)
        if self.roles is not None:
            found |= {400, 401, 429, 503}
        if self.roles:
            found.add(403)
        if "{" in self.path:
            found.add(404)
        if self.body:
            found |= {400, 408, 413, 415, 422}
        return sorted(found)
