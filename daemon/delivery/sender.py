"""Sending: one claimed delivery becomes one signed request and one result."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from daemon.delivery.attempt_logging import log_attempt
from daemon.delivery.kept_answer import as_lines, excerpt_of, headers_worth_keeping
from daemon.delivery.policy import Exchanged, Verdict, classify
from daemon.delivery.retry_after import parse_retry_after
from daemon.delivery.targets import Target, Targets, unsendable
from daemon.egress.answer import Answer
from daemon.egress.errors import EgressError, Fault, Phases
from daemon.egress.url import Url
from daemon.model import Outcome
from daemon.signing.standard import HeaderSettings, Message, attempt_headers, stamp
from daemon.store.queue import Claimed
from daemon.store.results import Result

NO_KEY_HOLD = 60.0
"""Seconds for which a lane rests that cannot be signed for: that is ours to mend, and no failed attempt."""


class Send(Protocol):
    """Sends a request that is ready for the wire within `timeout` seconds, or raises `EgressError`.

    `owner`: the organisation whose it is.
    """

    async def __call__(self, url: Url, request: bytes, *, owner: UUID, timeout: float) -> Answer: ...


class Bodies(Protocol):
    """Gives the body of an event for as long as a block lasts; None if it cannot be had in time."""

    def of(self, subscription_id: UUID, event_id: UUID) -> AbstractAsyncContextManager[bytes | None]: ...


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How deliveries are sent and failures judged. Times in seconds."""

    timeout: float
    retry_schedule: Sequence[float]
    retry_jitter: float
    retry_after_max: float
    headers: HeaderSettings


class Sender:
    """Sends deliveries; holds nothing between them. `now` gives the database's time in Unix seconds."""

    def __init__(
        self,
        *,
        send: Send,
        targets: Targets,
        settings: Callable[[], DeliverySettings],
        large_bodies: Bodies,
        now: Callable[[], float],
    ) -> None:
        self._send = send
        self._targets = targets
        self._settings = settings
        self._large_bodies = large_bodies
        self._now = now

    async def send(self, claimed: Claimed) -> Result:
        """Make one attempt and return its result. It fails only by being cancelled."""
        target = self._targets.get(claimed.subscription_id)
        if target is None:
            return claimed.result(Outcome.UNSENT)  # deleted meanwhile: nothing is pending any more
        if not target.keys:
            return replace(claimed.result(Outcome.UNSENT), hold=NO_KEY_HOLD)
        if claimed.body is not None:
            return await self._attempt(claimed, target, claimed.body.encode())
        async with self._large_bodies.of(claimed.subscription_id, claimed.event_id) as body:
            if body is None:
                return claimed.result(Outcome.UNSENT)
            return await self._attempt(claimed, target, body)

    async def _attempt(self, claimed: Claimed, target: Target, body: bytes) -> Result:
        settings = self._settings()
        now = self._now()
        timeout = timeout_of(target, settings)
        try:
            template = target.template
            if template is None:
                raise unsendable(target)
            message = Message(claimed.event_id, claimed.delivery_id, claimed.event_type, int(now), body)
            request = template.render(message)
            answer = await self._send(template.url, request, owner=target.org_id, timeout=timeout)
        except EgressError as error:
            if error.fault is Fault.PROXY:
                # The operator's to mend, and no failed attempt; not all come back in the same moment.
                return replace(claimed.result(Outcome.UNSENT), hold=error.hold * random.uniform(0.5, 1.0))
            seen = _of_error(error)
        else:
            seen = _of_answer(answer, self._now, settings.retry_after_max)
        seen.exchange.shortened = timeout < settings.timeout
        verdict = classify(
            seen.exchange,
            failed_before=claimed.failures,
            schedule=settings.retry_schedule if target.retry_schedule is None else target.retry_schedule,
            jitter=settings.retry_jitter,
            retry_after_max=settings.retry_after_max,
            random=random.random(),
        )
        result = _result(claimed, seen, verdict, now)
        host = "nowhere" if target.url is None else target.url.host_key
        log_attempt(result, host, seen.detail)
        return result


@dataclass(slots=True)
class _Seen:
    """What came of one request, before it is judged. `detail`: what went wrong, for people."""

    exchange: Exchanged
    phases: Phases
    excerpt: str | None
    detail: str | None = None
    note: str | None = None
    headers: str | None = None


def _of_error(error: EgressError) -> _Seen:
    exchange = Exchanged(error_code=error.code, fault=error.fault)
    return _Seen(exchange, error.phases, error.detail, error.note or error.detail)


def _of_answer(answer: Answer, now: Callable[[], float], retry_after_max: float) -> _Seen:
    status, retry_after = answer.status, None
    imperfect = not 200 <= status < 300 or bool(answer.note)
    kept = headers_worth_keeping(answer, failed=imperfect)
    if status >= 400 and (value := answer.header(b"retry-after")) is not None:
        heard = datetime.fromtimestamp(now(), UTC)
        retry_after = parse_retry_after(value, now=heard, maximum=retry_after_max)
    return _Seen(
        Exchanged(status, retry_after=retry_after, late=answer.late),
        answer.phases,
        excerpt_of(answer, kept),
        note=answer.note or None,
        headers=None if kept is None else as_lines(kept),
    )


def _result(claimed: Claimed, seen: _Seen, verdict: Verdict, started: float) -> Result:
    return Result(
        claimed.token,
        claimed.delivery_id,
        claimed.subscription_id,
        claimed.host_id,
        claimed.event_id,
        claimed.event_type,
        claimed.attempt,
        verdict.outcome,
        verdict.reason,
        seen.exchange.status,
        verdict.error,
        delay=verdict.next_delay,
        hold=verdict.hold,
        lane=verdict.lane,
        host_failed=True if verdict.host_failed else False if verdict.host_reached else None,
        started=started,
        duration=(seen.phases.total or 0.0) * 1000,
        phases=_milliseconds(seen.phases),
        excerpt=seen.excerpt,
        note=seen.note,
        headers=seen.headers,
    )


def compose(
    target: Target, settings: DeliverySettings, message: Message
) -> tuple[Url, list[tuple[bytes, bytes]]]:
    """Return where an attempt goes and its headers, but for those that the transport adds.

    Raises `EgressError` where nothing may be sent (`url_invalid`, `scheme_forbidden`, `port_forbidden`), or
    nothing can be (`key_missing`, `header_invalid`).
    """
    if target.url is None or not target.keys:
        raise unsendable(target)
    try:
        return target.url, attempt_headers(stamp(target.keys, message), settings.headers, target.headers)
    except ValueError as error:
        raise EgressError("header_invalid", str(error)) from error


def timeout_of(target: Target, settings: DeliverySettings) -> float:
    """Return the seconds that one attempt may take: never more than a lease is made for."""
    return settings.timeout if target.timeout is None else min(settings.timeout, target.timeout)


def _milliseconds(phases: Phases) -> str:
    """Return the phases as the literal of a Postgres array: dns, connect, tls, first byte."""
    if phases.reused and phases.first_byte is not None:
        return f"{{NULL,NULL,NULL,{phases.first_byte * 1000:.2f}}}"
    times = (phases.dns, phases.connect, phases.tls, phases.first_byte)
    return "{" + ",".join("NULL" if one is None else f"{one * 1000:.2f}" for one in times) + "}"
