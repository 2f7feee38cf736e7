"""Publishing a stream of events, one a line: batch by batch, at constant memory and at the store's pace."""

import hashlib
import logging
from collections import deque
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any
from uuid import UUID

import trio
from pydantic import TypeAdapter

from api.auth import Caller
from api.bodies import IncomingBody, validated
from api.loop_time import LoopTime
from api.ndjson import Batch, LineBatches, LineTooLong
from api.new_event import EventRules
from api.problems import FieldError, Problem, invalid, no_database, unavailable
from api.publishing import (
    ENVELOPE_BYTES,
    ENVELOPE_DEPTH,
    ENVELOPE_VALUES,
    MAX_PIECE,
    IncomingEvent,
    commit,
    event_of,
    rules_of,
)
from api.services import Services
from daemon.signing.canonical import JSON, Unrepresentable, parse
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from daemon.store.events import NewEvent, Once

logger = logging.getLogger("hookd.api")

MAX_IDS = 10_000
"""A stream with more events is answered without their ids, for the memory that they take."""
_BUFFERS = 256 * 1024  # bytes that a stream has on its way through a connection
_BYTES_OF_ID = 100
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
        if self.accepted > MAX_IDS:
            self.ids = None
        if self.ids is not None:
            self.ids.extend(map(str, ids))

    @property
    def held(self) -> int:
        """How many bytes the identifiers take."""
        return _BYTES_OF_ID * len(self.ids or ())

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
        if problem.status >= 500 or problem.status in {408, 409, 429}:
            sentences.append(
                "The whole stream may be sent again with the same Idempotency-Key."
                if repeatable
                else f"Go on from line {self.through + 1}; an event with a key is not published twice."
            )
        elif repeatable and "line" in problem.members:
            sentences.append("Send the rest with a new Idempotency-Key.")
        members = {**problem.members, **self.document(), "accepted_through": self.through, **unknown}
        return replace(problem, detail=" ".join(sentences), members=members)


class _Writer:
    """Commits batch after batch, each while the next one is read."""

    def __init__(
        self, nursery: trio.Nursery, services: Services, caller: Caller, key: str | None, progress: _Progress
    ) -> None:
        self._nursery = nursery
        self._services = services
        self._caller = caller
        self._key = key
        self._progress = progress
        self._done = trio.Event()
        self._done.set()
        self._failure: Problem | None = None
        self._writing = 0  # bytes

    async def put(self, events: list[NewEvent], lines: Batch) -> None:
        """Begin with a batch when the one before is done; raises what befell that one."""
        await self.finish()
        self._done = trio.Event()
        self._writing = sum(len(event.body) for event in events) + sum(len(line) for _, line in lines)
        self._nursery.start_soon(self._write, events, lines)

    @property
    def held(self) -> int:
        """How many bytes the batch under way and the answer take."""
        return self._writing + self._progress.held

    async def finish(self) -> None:
        """Return when all is committed; raises what befell the last batch."""
        await self._done.wait()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    async def _write(self, events: list[NewEvent], lines: Batch) -> None:
        progress = self._progress
        first, last = lines[0][0], lines[-1][0]
        once = None
        if self._key is not None:
            # Batches are counted, not named by their lines: blank lines before them would make them others.
            digest = hashlib.sha256(b"\n".join([b"%d" % first, *(line for _, line in lines)])).digest()
            once = Once(self._caller.org_id, self._key, digest, part=progress.batches + 1)
        progress.unknown = (first, last)
        try:
            ids = await _commit(self._services, events, once, progress)
            progress.unknown = None
            progress.add(ids, last)
        except Problem as problem:
            self._failure = problem
        finally:
            self._writing = 0
            self._done.set()


async def publish_stream(
    services: Services, caller: Caller, body: IncomingBody, key: str | None
) -> dict[str, Any]:
    """Publish the events of a stream as they come, and return how many there were, with their ids if few.

    While a batch is committed, no more than the next one is read. With a `key` each is remembered under it,
    and a stream that is sent again publishes only what it had not yet. Raises a `Problem` that tells how far
    it got: of a bad line, of a store that cannot be reached, of a client that stops in the middle.
    """
    settings = services.settings()
    rules, progress = rules_of(services), _Progress()
    longest = settings.max_event + ENVELOPE_BYTES
    body.hold(_BUFFERS)
    failure: Problem | LineTooLong | None = None
    async with trio.open_nursery() as nursery:
        writer = _Writer(nursery, services, caller, key, progress)
        try:
            try:
                await _read_stream(body, LineBatches(longest), caller, rules, writer, services.loop_time)
            finally:
                await writer.finish()  # what befell earlier lines counts more than a later line's fault
        except (Problem, LineTooLong) as error:  # raised here, it would leave the nursery in a group
            failure = error
    if isinstance(failure, LineTooLong):
        advice = f"is longer than {longest} bytes; send a reference to what is so large"
        failure = _of_line(failure.number, invalid([FieldError("", advice)]))
    if failure is not None:
        raise progress.told(failure, repeatable=key is not None) from None
    if not progress.accepted:
        raise invalid([FieldError("", "is empty; send at least one event")])
    return progress.document()


async def _read_stream(
    body: IncomingBody,
    batches: LineBatches,
    caller: Caller,
    rules: EventRules,
    writer: _Writer,
    loop_time: LoopTime,
) -> None:
    """Give all batches to `writer`, or those before the first bad line, whose `Problem` is raised then."""
    while not body.complete:
        body.hold_instead(_BUFFERS + batches.held + writer.held)
        piece = await body.piece()
        for batch in batches.feed(piece, last=body.complete):
            size = sum(len(line) for _, line in batch)
            body.hold_instead(_BUFFERS + batches.held + writer.held + 2 * size)
            lines = _Lines(batch, caller, rules)
            while not lines.ended:
                async with loop_time.piece(caller.org_id):
                    lines.go_on()
            if lines.events:
                await writer.put(lines.events, batch[: len(lines.events)])
            if lines.bad is not None:
                raise lines.bad


class _Lines:
    """The events of a batch up to the first bad line, and what is wrong with that; read in pieces of work."""

    def __init__(self, batch: Batch, caller: Caller, rules: EventRules) -> None:
        self._unread = deque(batch)
        self._values: deque[tuple[int, JSON]] = deque()
        self._caller = caller
        self._rules = rules
        self.events: list[NewEvent] = []
        self.bad: Problem | None = None

    @property
    def ended(self) -> bool:
        """Tell whether nothing is left to do."""
        return not self._unread and not self._values

    def go_on(self) -> None:
        """Do one piece of the work."""
        until = perf_counter() + MAX_PIECE
        if self._values:
            self._bring_into_form(until)
        else:
            self._parse(until)

    def _parse(self, until: float) -> None:
        while self._unread and perf_counter() < until:
            number, line = self._unread.popleft()
            try:
                self._values.append((number, _read(line, self._rules)))
            except Problem as problem:
                self.bad = _of_line(number, problem)
                self._unread.clear()

    def _bring_into_form(self, until: float) -> None:
        while self._values and perf_counter() < until:
            number, value = self._values.popleft()
            try:
                self.events.append(event_of(validated(_EVENT, value), self._caller, self._rules))
            except Problem as problem:
                self.bad = _of_line(number, problem)
                self._unread.clear()
                self._values.clear()


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
            repeats = {"repeats_as": "streams of events that had no database"}
            logger.warning("a stream of events had no database: %s", error, extra=repeats)
            raise no_database(error) from None
        except Problem as problem:
            if problem.status < 500:
                progress.unknown = None
            raise
    progress.unknown = None
    raise unavailable("The events met others again and again and were undone.", 1)


def _read(line: bytes, rules: EventRules) -> JSON:
    """Return the value of a line; raises a 422 `Problem`."""
    depth, values = rules.max_depth + ENVELOPE_DEPTH, rules.max_values + ENVELOPE_VALUES
    try:
        return parse(line, max_depth=depth, max_values=values, unique_keys=True)
    except Unrepresentable as error:
        # There is one line only here; which one it is of all, the pointer says.
        reason = error.reason.replace(" at line 1, ", " at ")
        raise invalid([FieldError(error.pointer or "", reason)]) from None


def _of_line(number: int, problem: Problem) -> Problem:
    """Return what is wrong with an event as what is wrong with its line."""
    found = problem.errors or [FieldError("", problem.detail)]
    errors = [FieldError(f"/{number}{error.pointer}", error.detail) for error in found]
    detail = f"Line {number} cannot be published; correct what `errors` names and go on from that line."
    kind = "invalid-line" if problem.status == 422 else problem.kind
    return Problem(problem.status, kind, detail, errors, members={"line": number})
