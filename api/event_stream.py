"""Publishing a stream of events, one a line: batch by batch, at constant memory and at the store's pace."""

import hashlib
import logging
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import trio
from pydantic import TypeAdapter

from api.auth import Caller
from api.bodies import IncomingBody, validated
from api.ndjson import Batch, LineBatches, LineTooLong
from api.new_event import EventRules
from api.problems import FieldError, Problem, invalid, unavailable
from api.publishing import CHECKPOINT_EVERY, IncomingEvent, commit, event_of, rules_of
from api.services import Services
from daemon.signing.canonical import Unrepresentable, parse
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from daemon.store.events import NewEvent, Once

logger = logging.getLogger("hookd.api")

MOST_IDS = 10_000
"""A stream with more events is answered without their ids, for the memory that they take."""
_ENVELOPE = 4096  # bytes of a line beside those of its event
_ENVELOPE_DEPTH = 1  # the event around `data`
_TRIES = 5
_EVENT = TypeAdapter(IncomingEvent)


@dataclass(slots=True)
class _Progress:
    """What has been accepted of a stream, up to which line, and the lines of which that is not known."""

    accepted: int = 0
    through: int = 0
    batches: int = 0
    ids: list[str] | None = field(default_factory=list)
    unknown: tuple[int, int] | None = None

    def add(self, ids: list[UUID], through: int) -> None:
        self.accepted += len(ids)
        self.batches += 1
        self.through = through
        if self.accepted > MOST_IDS:
            self.ids = None
        if self.ids is not None:
            self.ids.extend(map(str, ids))

    def document(self) -> dict[str, Any]:
        ids = {} if self.ids is None else {"ids": self.ids}
        return {"accepted": self.accepted, **ids}

    def told(self, problem: Problem, *, repeatable: bool) -> Problem:
        """Return the problem that ended the stream, with what was accepted before it."""
        sentences = [problem.detail, f"Accepted: {self.accepted} events, of lines up to {self.through}."]
        unknown = {}
        if self.unknown is not None:
            first, last = self.unknown
            unknown = {"unknown_lines": [first, last]}
            sentences.append(f"Of lines {first} to {last} it is not known.")
        if problem.status >= 500 or problem.status in {408, 409}:
            sentences.append(
                "The whole stream may be sent again with the same Idempotency-Key."
                if repeatable
                else f"Go on from line {self.through + 1}; an event with a key is not published twice."
            )
        elif repeatable and "line" in problem.members:
            sentences.append("Send the rest with a new Idempotency-Key.")
        members = {**problem.members, **self.document(), "accepted_through": self.through, **unknown}
        return replace(problem, detail=" ".join(sentences), members=members)


async def publish_stream(
    services: Services, caller: Caller, body: IncomingBody, key: str | None
) -> dict[str, Any]:
    """Publish the events of a stream as they come, and return how many there were, with their ids if few.

    Each batch is committed before more of the body is read. With a `key` each is remembered under it, and a
    stream that is sent again publishes only what it had not yet. Raises a `Problem` that tells how far it
    got: of a bad line, of a store that cannot be reached, of a client that stops in the middle.
    """
    settings = services.settings()
    rules, progress = rules_of(settings), _Progress()
    longest = settings.max_event + _ENVELOPE
    batches = LineBatches(longest)
    try:
        while not body.complete:
            piece = await body.piece()
            for batch in batches.feed(piece, last=body.complete):
                await _publish(services, caller, key, batch, rules, progress)
    except LineTooLong as error:
        advice = f"is longer than {longest} bytes; send a reference to what is so large"
        fault = _of_line(error.number, invalid([FieldError("", advice)]))
        raise progress.told(fault, repeatable=key is not None) from None
    except Problem as problem:
        raise progress.told(problem, repeatable=key is not None) from None
    if not progress.accepted:
        raise invalid([FieldError("", "is empty; send at least one event")])
    return progress.document()


async def _publish(
    services: Services,
    caller: Caller,
    key: str | None,
    batch: Batch,
    rules: EventRules,
    progress: _Progress,
) -> None:
    """Publish a batch, or what comes before the first bad line, whose `Problem` is raised then."""
    events: list[NewEvent] = []
    bad: Problem | None = None
    for number, line in batch:
        if len(events) % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            await trio.lowlevel.checkpoint()
        try:
            events.append(event_of(_read(line, rules), caller, rules))
        except Problem as problem:
            bad = _of_line(number, problem)
            break
    if events:
        lines = batch[: len(events)]
        first, last = lines[0][0], lines[-1][0]
        once = None
        if key is not None:
            # Batches are counted, not named by their lines: blank lines before them would make them others.
            digest = hashlib.sha256(b"\n".join([b"%d" % first, *(line for _, line in lines)])).digest()
            once = Once(caller.org_id, key, digest, part=progress.batches + 1)
        progress.unknown = (first, last)
        ids = await _commit(services, events, once, progress)
        progress.unknown = None
        progress.add(ids, last)
    if bad is not None:
        raise bad


async def _commit(
    services: Services, events: list[NewEvent], once: Once | None, progress: _Progress
) -> list[UUID]:
    """Commit a batch; raises a `Problem`, having noted where it is known that nothing was published."""
    for _ in range(_TRIES):
        try:
            return await commit(services, events, once)
        except RetryTransaction:
            continue
        except DatabaseUnavailable as error:
            logger.warning("a stream of events had no database: %s", error)
            raise unavailable("The database cannot be reached, or went away.") from None
        except Problem as problem:
            if problem.status < 500:
                progress.unknown = None
            raise
    progress.unknown = None
    raise unavailable("The events met others again and again and were undone.", 1)


def _read(line: bytes, rules: EventRules) -> IncomingEvent:
    """Return the event that a line holds; raises a 422 `Problem`."""
    try:
        value = parse(line, max_depth=rules.max_depth + _ENVELOPE_DEPTH, unique_keys=True)
    except Unrepresentable as error:
        # There is one line only here; which one it is of all, the pointer says.
        reason = error.reason.replace(" at line 1, ", " at ")
        raise invalid([FieldError(error.pointer or "", reason)]) from None
    return validated(_EVENT, value)


def _of_line(number: int, problem: Problem) -> Problem:
    """Return what is wrong with an event as what is wrong with its line."""
    found = problem.errors or [FieldError("", problem.detail)]
    errors = [FieldError(f"/{number}{error.pointer}", error.detail) for error in found]
    detail = f"Line {number} cannot be published; correct what `errors` names and go on from that line."
    kind = "invalid-line" if problem.status == 422 else problem.kind
    return Problem(problem.status, kind, detail, errors, members={"line": number})
