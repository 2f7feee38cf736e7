"""Tests of a receiver: synthetic deliveries that are sent at once and recorded nowhere."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol
from uuid import UUID

import trio

from daemon.delivery.conformance import CHECKS, Variant, advice, message, status_detail, variants
from daemon.delivery.kept_answer import excerpt_of, headers_worth_keeping
from daemon.delivery.policy import Exchanged, classify
from daemon.delivery.request_budget import RequestBudget
from daemon.delivery.sender import DeliverySettings, compose, timeout_of
from daemon.delivery.targets import Target
from daemon.egress.answer import Answer
from daemon.egress.curl import sent
from daemon.egress.errors import EgressError
from daemon.egress.report import (
    EndpointTest,
    EndpointTestsBusy,
    EndpointTestsStopping,
    Finding,
    Outcome,
    Sent,
)
from daemon.egress.url import Url
from daemon.signing.standard import Message
from daemon.store.tokens import Tokens

logger = logging.getLogger("hookd.delivery")

MAX_TESTS = 32
"""Tests at once in one daemon."""
MAX_TESTS_PER_ORGANISATION = 4
RATE, BURST = 2.0, 50.0
"""Test requests of one organisation that a daemon sends in a second, and at once after a quiet time."""
RETRY_AFTER = 5
"""Seconds after which a refused test may be tried again."""
_HIDDEN = b"***"


class FreshPost(Protocol):
    """Posts a body over a connection of its own (`fresh`), or raises `EgressError`."""

    async def __call__(
        self,
        url: Url,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        owner: UUID,
        timeout: float,
        fresh: bool,
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much testing there may be: requests of an organisation, tests at once, and of one organisation."""

    requests: RequestBudget
    at_once: int = MAX_TESTS
    at_once_per_organisation: int = MAX_TESTS_PER_ORGANISATION


class EndpointTests:
    """Tests receivers; nothing of it reaches the queue, the history, a circuit or a failure count.

    `target_of` reads a subscription anew and makes its target by the rules of the moment, so that a test
    shows what the next delivery would meet. Each request takes of its host's rate (`take`), as that of a
    delivery does, and of what `bounds` allow an organisation.
    """

    def __init__(
        self,
        *,
        target_of: Callable[[UUID], Awaitable[Target | None]],
        take: Callable[[UUID, UUID, int], Awaitable[Tokens | None]],
        post: FreshPost,
        settings: Callable[[], DeliverySettings],
        stopping: Callable[[], bool],
        now: Callable[[], float],
        bounds: Bounds,
    ) -> None:
        self._target_of = target_of
        self._take = take
        self._post = post
        self._settings = settings
        self._stopping = stopping
        self._now = now
        self._bounds = bounds
        self._running: Counter[UUID] = Counter()

    async def run(self, org_id: UUID, subscription_id: UUID, *, conformance: bool) -> EndpointTest | None:
        """Test the receiver of a subscription that `org_id` has; None if it is gone.

        It takes at most the timeout of one attempt, with `conformance` twice that. Raises
        `EndpointTestsBusy`, `EndpointTestsStopping`, and of `daemon.store.database` `DatabaseUnavailable` and
        `RetryTransaction`.
        """
        if self._stopping():
            raise EndpointTestsStopping
        with self._room(org_id):
            target = await self._target_of(subscription_id)
            tokens = await self._permitted(org_id, subscription_id, 1 + len(CHECKS) * conformance)
            if target is None or tokens is None:
                return None
            test = await self._test(subscription_id, target, conformance)
        _log(subscription_id, target, test)
        return replace(test, blocked_until=tokens.blocked_until)

    async def _permitted(self, org_id: UUID, subscription_id: UUID, requests: int) -> Tokens | None:
        wait = self._bounds.requests.take(org_id, requests)
        if wait:
            raise EndpointTestsBusy(
                ceil(wait), "Your organisation has had as many test requests sent as it may for now"
            )
        tokens = await self._take(org_id, subscription_id, requests)
        if tokens is not None and tokens.wait is not None:
            raise EndpointTestsBusy(
                ceil(tokens.wait),
                f"The rate of {tokens.host} ({tokens.rate:g} requests a second, which all its subscriptions"
                " share) is used up",
            )
        return tokens

    @contextmanager
    def _room(self, org_id: UUID) -> Iterator[None]:
        running, bounds = self._running, self._bounds
        if running.total() >= bounds.at_once or running[org_id] >= bounds.at_once_per_organisation:
            raise EndpointTestsBusy(RETRY_AFTER, "As many tests are under way as there may be at once")
        running[org_id] += 1
        try:
            yield
        finally:
            running[org_id] -= 1
            if not running[org_id]:
                del running[org_id]

    async def _test(self, subscription_id: UUID, target: Target, conformance: bool) -> EndpointTest:
        settings = self._settings()
        valid = message(subscription_id, self._now())
        shown = _shown(target, settings, valid)
        outcome = await self._send(target, settings, valid)
        findings = None
        if conformance:
            made = variants(valid, target.keys, subscription_id, self._now())
            findings = await self._put_to_checks(target, settings, made)
        return EndpointTest(valid.event_id, valid.delivery_id, shown, outcome, findings)

    async def _put_to_checks(
        self, target: Target, settings: DeliverySettings, made: Sequence[Variant]
    ) -> list[Finding]:
        """Send all at once: a receiver that never answers costs one timeout, not one for each."""
        found: dict[str, Finding] = {}

        async def check(one: Variant) -> None:
            outcome = await self._send(replace(target, keys=one.keys), settings, one.message)
            judged = advice(one.check, outcome.status, outcome.error)
            found[one.check.name] = Finding(one.check.name, one.check.expected, outcome, judged)

        async with trio.open_nursery() as nursery:
            for one in made:
                nursery.start_soon(check, one)
        return [found[one.check.name] for one in made]

    async def _send(self, target: Target, settings: DeliverySettings, what: Message) -> Outcome:
        """Send one request and judge it as a delivery would be. It fails only by being cancelled."""
        began = trio.current_time()
        try:
            url, headers = compose(target, settings, what)
            timeout = timeout_of(target, settings)
            owner = target.org_id
            answer = await self._post(url, headers, what.body, owner=owner, timeout=timeout, fresh=True)
        except EgressError as error:
            took = (trio.current_time() - began) * 1000
            if error.note is not None:
                repeats = {"repeats_as": "refused tests"}
                logger.info("a test was refused: %s", error.note, extra=repeats)
            return Outcome(None, error.code, error.detail, took, error.phases, None)
        took = (trio.current_time() - began) * 1000
        verdict = classify(
            Exchanged(answer.status),
            failed_before=0,
            schedule=(),
            jitter=0.0,
            retry_after_max=0.0,
            random=0.0,
        )
        kept = headers_worth_keeping(answer, failed=True)
        return Outcome(
            answer.status,
            verdict.error,
            status_detail(answer.status),
            took,
            answer.phases,
            excerpt_of(answer, kept),
            answer.note or None,
            kept,
        )


def _shown(target: Target, settings: DeliverySettings, what: Message) -> Sent | None:
    """Return the request for people: one of the subscription's own headers may hold a password."""
    hidden = replace(target, headers=tuple((name, _HIDDEN) for name, _ in target.headers))
    try:
        url, headers = compose(hidden, settings, what)
        return sent("POST", url, headers, what.body)
    except EgressError:
        return None


def _log(subscription_id: UUID, target: Target, test: EndpointTest) -> None:
    outcome = test.outcome
    host = "nowhere" if target.url is None else target.url.host_key
    status = "" if outcome.status is None else f" {outcome.status}"
    logger.info(
        "test of %s: %s",
        host,
        "succeeded" if outcome.error is None else f"{outcome.error}{status}",
        extra={
            "event_id": str(test.event_id),
            "delivery_id": str(test.delivery_id),
            "subscription_id": str(subscription_id),
            "repeats_as": f"tests of {host}",
        },
    )
