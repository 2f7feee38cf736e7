"""Sending: one claimed delivery becomes one signed request and one result."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import trio

from daemon.delivery.attempt_log import log_attempt
from daemon.delivery.policy import classify
from daemon.delivery.retry_after import parse_retry_after
from daemon.delivery.targets import Target, Targets
from daemon.egress.errors import EgressError, Phases
from daemon.egress.response import Answer
from daemon.egress.url import Url
from daemon.signing.standard import signature_headers
from daemon.store.queue import Claimed, Result


class Post(Protocol):
    """Posts a body to a URL within `timeout` seconds, or raises `EgressError`."""

    async def __call__(
        self, url: Url, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, timeout: float
    ) -> Answer: ...


class Bodies(Protocol):
    """Gives the body of an event for as long as a block lasts; None if it cannot be had in time."""

    def of(self, subscription_id: UUID, event_id: UUID) -> AbstractAsyncContextManager[bytes | None]: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """How deliveries are sent and failures judged. Times in seconds."""

    timeout: float
    retry_schedule: Sequence[float]
    retry_jitter: float
    retry_after_max: float
    header_prefix: str
    user_agent: str


class Sender:
    """Sends deliveries; holds nothing between them."""

    def __init__(
        self, *, post: Post, targets: Targets, rules: Callable[[], Rules], large_bodies: Bodies
    ) -> None:
        self._post = post
        self._targets = targets
        self._rules = rules
        self._large_bodies = large_bodies

    async def send(self, claimed: Claimed) -> Result:
        """Make one attempt and return its result. It fails only by being cancelled."""
        target = self._targets.get(claimed.subscription_id)
        if target is None:
            return claimed.result("unsent")  # deleted meanwhile: nothing is owed any more
        if claimed.body is not None:
            return await self._send(claimed, target, claimed.body.encode())
        async with self._large_bodies.of(claimed.subscription_id, claimed.event_id) as body:
            if body is None:
                return claimed.result("unsent")
            return await self._send(claimed, target, body)

    async def _send(self, claimed: Claimed, target: Target, body: bytes) -> Result:
        now = time.time()
        began = trio.current_time()
        status, code, retry_after, excerpt = None, None, None, None
        rules = self._rules()
        try:
            answer = await self._attempt(claimed, target, body, rules, int(now))
        except EgressError as error:
            code, phases = error.code, error.phases
            excerpt = error.detail
        else:
            status, phases = answer.status, answer.phases
            excerpt = answer.excerpt.decode("utf-8", "replace").replace("\0", "\ufffd")
            if status >= 400 and (value := answer.header(b"retry-after")) is not None:
                retry_after = parse_retry_after(value, now=datetime.now(UTC), maximum=rules.retry_after_max)
        verdict = classify(
            status,
            code,
            retry_after,
            failed_before=claimed.failures,
            schedule=rules.retry_schedule,
            jitter=rules.retry_jitter,
            retry_after_max=rules.retry_after_max,
            random=random.random(),
        )
        duration = (trio.current_time() - began) * 1000
        result = Result(
            token=claimed.token,
            delivery_id=claimed.delivery_id,
            subscription_id=claimed.subscription_id,
            host_id=claimed.host_id,
            event_id=claimed.event_id,
            event_type=claimed.event_type,
            attempt=claimed.attempt,
            outcome=verdict.outcome.value,
            reason=None if verdict.reason is None else verdict.reason.value,
            status=status,
            error=verdict.error,
            delay=verdict.next_delay,
            hold=verdict.hold,
            lane=verdict.lane.value,
            host_failed=True if verdict.host_failed else False if verdict.host_reached else None,
            started=datetime.fromtimestamp(now, UTC),
            duration=duration,
            phases=_milliseconds(phases),
            excerpt=excerpt,
        )
        host = "nowhere" if target.url is None else target.url.host_name
        log_attempt(result, host, None if code is None else excerpt)
        return result

    async def _attempt(
        self, claimed: Claimed, target: Target, body: bytes, rules: Rules, timestamp: int
    ) -> Answer:
        url, headers = compose(
            target,
            rules,
            event_id=claimed.event_id,
            delivery_id=claimed.delivery_id,
            event_type=claimed.event_type,
            timestamp=timestamp,
            body=body,
        )
        return await self._post(url, headers, body, timeout=timeout_of(target, rules))


def compose(
    target: Target,
    rules: Rules,
    *,
    event_id: UUID,
    delivery_id: UUID,
    event_type: str,
    timestamp: int,
    body: bytes,
) -> tuple[Url, list[tuple[bytes, bytes]]]:
    """Return where an attempt goes and its headers, but for those that the transport adds.

    Raises `EgressError` where nothing may be sent (`url_invalid`, `scheme_forbidden`, `port_forbidden`), or
    nothing can be (`key_missing`, `header_invalid`).
    """
    if target.url is None:
        refused = target.refused
        raise EgressError("url_invalid" if refused is None else refused.code, str(refused))
    if not target.keys:
        raise EgressError("key_missing", "No secret could be opened to sign with; rotate the secret.")
    try:
        headers = signature_headers(
            target.keys,
            event_id=event_id,
            delivery_id=delivery_id,
            event_type=event_type,
            timestamp=timestamp,
            body=body,
            prefix=rules.header_prefix,
            user_agent=rules.user_agent,
        )
    except ValueError as error:
        raise EgressError("header_invalid", str(error)) from error
    return target.url, [*headers, *target.headers]


def timeout_of(target: Target, rules: Rules) -> float:
    """Return the seconds that one attempt may take: never more than a lease is made for."""
    return rules.timeout if target.timeout is None else min(rules.timeout, target.timeout)


def _milliseconds(phases: Phases) -> str:
    """Return the phases as the literal of a Postgres array: dns, connect, tls, first byte."""
    times = (phases.dns, phases.connect, phases.tls, phases.first_byte)
    return "{" + ",".join("NULL" if one is None else f"{one * 1000:.2f}" for one in times) + "}"
