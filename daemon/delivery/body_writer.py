"""The canonical bodies of events that came through SQL, made in pieces between which others have the loop."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.metrics import Metrics
from daemon.schemas import Schemas
from daemon.signing.canonical import Unrepresentable, event_body, parse
from daemon.store.routing import Body, RawEvent

logger = logging.getLogger("hookd.router")

MAX_PIECE, REST = 0.005, 0.001
"""Seconds: of work after which there is a rest, and of the rest. In less than that, trio-asyncio would do
asyncio's next callbacks and nothing else."""


@dataclass(frozen=True, slots=True)
class EventRules:
    """What an event from SQL is held to here, as publish() cannot check it."""

    max_depth: int
    max_values: int
    schemas: Schemas


class BodyWriter:
    """Makes bodies by the `rules` of the moment; what can have none is logged and counted."""

    def __init__(self, rules: Callable[[], EventRules], metrics: Metrics) -> None:
        self._rules = rules
        self._metrics = metrics
        self._worked = 0.0

    async def write(self, events: Sequence[RawEvent]) -> list[Body]:
        """Return the body of each event, or why it can have none; in asyncio."""
        return [await self._write(event) for event in events]

    async def _write(self, event: RawEvent) -> Body:
        rules = self._rules()
        try:
            began = time.perf_counter()
            data = parse(event.data, max_depth=rules.max_depth, max_values=rules.max_values)
            await self._rest(began)
            began = time.perf_counter()
            body = event_body(event.event_id, event.type, data)
            await self._rest(began)
        except Unrepresentable as error:
            return self._refuse(event, error.reason)
        violation = rules.schemas.violation(event.type, data, len(body))
        if violation is not None:
            return self._refuse(event, f"/data{violation.pointer} {violation.advice}")
        return Body(event, body, None)

    def _refuse(self, event: RawEvent, reason: str) -> Body:
        repeats = {"repeats_as": "events that cannot be delivered"}
        logger.warning("event %s cannot be delivered: %s", event.event_id, reason, extra=repeats)
        self._metrics.unrepresentable.add()
        return Body(event, None, reason)

    async def _rest(self, began: float) -> None:
        """End a piece of work that began then, and rest if there was enough of it."""
        self._worked += time.perf_counter() - began
        if self._worked > MAX_PIECE:
            self._worked = 0.0
            await asyncio.sleep(REST)
