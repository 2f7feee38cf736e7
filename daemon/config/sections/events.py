"""`[events]`: what may be published."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from daemon.config import checks
from daemon.config.kinds import Size, Text, Whole
from daemon.config.sections.base import AT_LEAST_ONE, MIB, ConfigConflict, Section, refuse_repeated

_EVENT_TYPES = (
    "placement.created",
    "placement.updated",
    "attestation.issued",
    "attestation.revoked",
    "match.proposed",
    "match.accepted",
    "match.declined",
)
_EventType = Annotated[str, Text(checks.event_type)]


class EventsConfig(Section):
    """`[events]`: what may be published."""

    types: Annotated[tuple[_EventType, ...], AT_LEAST_ONE] = _EVENT_TYPES
    """Types that may be published and subscribed to."""
    schemas: dict[_EventType, Annotated[str, Text(checks.not_empty)]] = Field(default_factory=dict)
    """Files with the JSON Schemas that event types' data must fit, by type; other types take any data."""
    max_bytes: Annotated[int, Size("16", "64MiB")] = MIB
    """Bytes of one event's canonical body."""
    max_depth: Annotated[int, Whole(1, 500)] = 64
    """Levels of nesting in one event's data."""
    max_values: Annotated[int, Whole(1, 1_000_000)] = 20_000
    """Values in one event's data; nothing else is done while they are read, for a microsecond each."""

    @model_validator(mode="after")
    def _types_fit(self) -> Self:
        refuse_repeated("types", self.types)
        for unknown in self.schemas.keys() - set(self.types):
            raise ConfigConflict("schemas", f'names "{unknown}", which is not in events.types: add it there')
        return self
