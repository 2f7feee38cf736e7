"""What the queue owes, in plain Python: a model that is told what happened, and objects to what cannot be."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from daemon.store.queue import Claimed
from daemon.store.results import Held, Result

ROUNDED = timedelta(microseconds=10)
Pair = tuple[UUID, UUID]
"""An event and a subscription."""


@dataclass(frozen=True)
class Filter:
    """A filter as its owner writes it, and what it says of an event's data."""

    text: str
    passes: Callable[[Any], bool]

    def __repr__(self) -> str:
        return self.text


@dataclass
class Bucket:
    """A second token bucket, so that the queue's own cannot hide a fault."""

    rate: float
    burst: float
    tokens: float
    at: datetime

    def take(self, count: int, now: datetime) -> None:
        """Take tokens for as many requests."""
        self.refill(now)
        self.tokens -= count

    def refill(self, now: datetime) -> None:
        """Let time go on."""
        elapsed = max(0.0, (now - self.at).total_seconds())
        self.tokens = min(self.burst, self.tokens + self.rate * elapsed)
        self.at = now


@dataclass
class Subscription:
    """`planted`: its filter fails whatever it looks at; `blocked`: that was found out."""

    id: UUID
    org: UUID
    host: int
    url: str
    patterns: tuple[str, ...]
    filter: Filter | None
    ordered: bool
    rate_limit: float | None
    schedule: tuple[float, ...] | None
    secrets: list[tuple[str, datetime | None]]
    active: bool = True
    revision: int = 1
    planted: bool = False
    blocked: bool = False
    hold_until: datetime | None = None
    bucket: Bucket | None = None
    failure_count: int = 0
    failing_since: datetime | None = None
    may_catch_up: bool = False
    """Since something of it failed, its receiver may be back: what failed may go ahead of its time."""

    def concerns(self, event: "Event") -> str | None:
        """Return what becomes of an event for this subscription: owed, a reason for never, or None."""
        if not self.active or self.org != event.org or not covers(self.patterns, event.type):
            return None
        if event.unrepresentable:
            return "unrepresentable"
        if self.planted or self.blocked:
            return "filter_failed"
        return "owed" if self.filter is None or self.filter.passes(event.data) else None


@dataclass
class Event:
    """`number`: its place among those published one after another, None if its transaction lasted."""

    id: UUID
    org: UUID
    type: str
    data: Any
    body: str | None
    after: datetime | None
    number: int | None
    must: set[UUID] = field(default_factory=set)
    """Subscriptions that have wanted it from the beginning on."""

    @property
    def unrepresentable(self) -> bool:
        """Whether no body can be made of it."""
        return self.body is None

    @property
    def at(self) -> datetime:
        """The moment that its id carries."""
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, UTC)


@dataclass
class Delivery:
    """`rank`: the place that it must keep in its subscription's strict order, if any."""

    id: UUID
    event: UUID
    subscription: UUID
    due: datetime
    replay: UUID | None
    rank: int | None = None
    attempts: int = 0
    failures: int = 0
    has_failed: bool = False


@dataclass
class Lease:
    """What one token holds. `daemon`: whose it is, None once that has died."""

    token: UUID
    daemon: int | None
    until: datetime
    left: dict[UUID, Held]


@dataclass
class Replay:
    """`events`: those that it may send; `made`: those that it has made deliveries of."""

    id: UUID
    subscription: UUID
    total: int
    events: set[UUID]
    made: set[UUID] = field(default_factory=set)
    cancelled: bool = False


@dataclass
class Model:
    """All of it. `pairs`: what routing has settled, whatever became of it; `ended`: deliveries and how."""

    subscriptions: dict[UUID, Subscription] = field(default_factory=dict)
    events: dict[UUID, Event] = field(default_factory=dict)
    inbox: dict[UUID, Event] = field(default_factory=dict)
    owed: dict[UUID, Delivery] = field(default_factory=dict)
    ended: dict[UUID, tuple[Delivery, str]] = field(default_factory=dict)
    pairs: set[Pair] = field(default_factory=set)
    leases: dict[UUID, Lease] = field(default_factory=dict)
    late: list[Held] = field(default_factory=list)
    """Results that are still to come although their lease has ended."""
    buckets: dict[int, Bucket] = field(default_factory=dict)
    replays: dict[UUID, Replay] = field(default_factory=dict)

    # -- subscriptions and events -------------------------------------------------------------------------

    def published(self, event: Event) -> None:
        """An event was committed."""
        event.must = {one.id for one in self.subscriptions.values() if one.concerns(event)}
        self.events[event.id] = self.inbox[event.id] = event

    def changed(self, one: Subscription) -> None:
        """What a subscription wants is another thing now."""
        for event in self.inbox.values():
            if not one.concerns(event):
                event.must.discard(one.id)

    def written_anew(self, one: Subscription) -> None:
        """Its interests were written once more, whatever stood there."""
        one.planted = False
        self.changed(one)

    def switched(self, one: Subscription, active: bool) -> None:
        """It was paused or resumed, by whomever."""
        one.active = active
        if active:
            one.failure_count, one.failing_since, one.hold_until = 0, None, None
        self.written_anew(one)

    def removed(self, one: Subscription) -> None:
        """A subscription is gone with all that it was owed."""
        for event in self.inbox.values():
            event.must.discard(one.id)
        del self.subscriptions[one.id]
        self.owed = {id_: each for id_, each in self.owed.items() if each.subscription != one.id}
        self.ended = {id_: each for id_, each in self.ended.items() if each[0].subscription != one.id}
        self.pairs = {pair for pair in self.pairs if pair[1] != one.id}
        self.replays = {id_: each for id_, each in self.replays.items() if each.subscription != one.id}
        for lease in self.leases.values():
            for delivery_id in [id_ for id_, held in lease.left.items() if held.subscription_id == one.id]:
                self.late.append(lease.left.pop(delivery_id))
        self.leases = {token: lease for token, lease in self.leases.items() if lease.left}

    # -- deliveries ---------------------------------------------------------------------------------------

    def leased(self) -> dict[UUID, UUID]:
        """Return the token that holds each delivery that one holds."""
        return {id_: token for token, lease in self.leases.items() for id_ in lease.left}

    def made(self, rows: Iterable[Mapping[str, Any]]) -> list[Delivery]:
        """Return the deliveries among `rows` that were not there before, and note them."""
        new = []
        for row in rows:
            if row["id"] not in self.owed:
                assert row["id"] not in self.ended, "a delivery that has ended is owed again"
                assert (row["attempt"], row["failures"], row["lease"]) == (0, 0, None) or row["lease"]
                one = Delivery(
                    row["id"], row["event_id"], row["subscription_id"], row["due"], row["replay_id"]
                )
                new.append(one)
                self.owed[one.id] = one
        return new

    def routed(self, inbox: set[UUID], new: list[Delivery], never: Iterable[tuple[UUID, UUID, str]]) -> None:
        """Check what a round made: `inbox` is what is left, `never` what ended without having been owed."""
        outcomes = [((one.event, one.subscription), "owed") for one in new]
        outcomes += [((event, subscription), reason) for event, subscription, reason in never]
        for (event_id, subscription_id), outcome in outcomes:
            event, one = self.inbox[event_id], self.subscriptions[subscription_id]
            assert (event_id, subscription_id) not in self.pairs, "routed to a subscription twice"
            self.pairs.add((event_id, subscription_id))
            assert one.concerns(event) == outcome, f"{one.concerns(event)} was to become {outcome}"
        for delivery in new:
            event, one = self.inbox[delivery.event], self.subscriptions[delivery.subscription]
            assert event.after is None or delivery.due >= event.after, "due before its time"
            delivery.rank = event.number if one.ordered and event.after is None else None
        assert inbox <= set(self.inbox), "what was routed is in the inbox again"
        for event_id in set(self.inbox) - inbox:
            event = self.inbox.pop(event_id)
            lost = {one for one in event.must if (event_id, one) not in self.pairs}
            assert not lost, f"{event} left the inbox without {[self.subscriptions[one] for one in lost]}"

    def claimed(self, got: Iterable[Claimed], daemon: int | None, now: datetime, lease: float) -> None:
        """Check what a claim gave to a daemon (None: to one that has died)."""
        for held in sorted(got, key=lambda one: one.delivery_id):
            one, delivery = self.subscriptions[held.subscription_id], self.owed[held.delivery_id]
            event = self.events[delivery.event]
            assert (held.event_id, held.event_type, held.org_id) == (event.id, event.type, one.org)
            assert (delivery.event, delivery.subscription) == (held.event_id, held.subscription_id)
            assert held.delivery_id not in self.leased(), "leased twice"
            assert one.active, "a paused subscription was served"
            assert one.host == held.host_id, "claimed from a host that it has left"
            assert one.revision == held.revision
            assert one.hold_until is None or now >= one.hold_until, "sent to before Retry-After has passed"
            ahead = delivery.due > now
            assert not ahead or (delivery.has_failed and one.may_catch_up and not one.ordered), (
                "sent too early"
            )
            delivery.attempts += 1
            assert (held.attempt, held.failures) == (delivery.attempts, delivery.failures - ahead)
            if one.ordered:
                self._check_order(delivery)
            self._take_tokens(one, now)
            own = self.leases.setdefault(
                held.token, Lease(held.token, daemon, now + timedelta(seconds=lease), {})
            )
            own.left[held.delivery_id] = held

    def found(self, got: Iterable[Held], daemon: int, now: datetime, lease: float) -> None:
        """Note what a claim leased, a moment ago, whose answer was lost."""
        for held in sorted(got, key=lambda one: one.delivery_id):
            delivery = self.owed[held.delivery_id]
            assert (delivery.event, delivery.subscription) == (held.event_id, held.subscription_id)
            assert held.delivery_id not in self.leased(), "leased twice"
            delivery.attempts += 1
            self._take_tokens(self.subscriptions[held.subscription_id], now)
            end = now + timedelta(seconds=lease)
            own = self.leases.setdefault(held.token, Lease(held.token, daemon, end, {}))
            own.left[held.delivery_id] = held

    def _check_order(self, delivery: Delivery) -> None:
        if delivery.rank is None:
            return
        for other in self.owed.values():
            if other.subscription == delivery.subscription and other.rank is not None:
                assert other.rank >= delivery.rank, "an event has overtaken another in strict order"

    def _take_tokens(self, one: Subscription, now: datetime) -> None:
        bucket = self.buckets[one.host]
        bucket.take(1, now)
        assert bucket.tokens > -1e-3, "more requests to a host than rate x time + burst"
        if one.bucket is not None:
            one.bucket.take(1, now)
            assert one.bucket.tokens > -1e-3, "more requests to a subscription than its rate allows"

    def recorded(self, results: list[Result], now: datetime) -> None:
        """Results counted, in this order."""
        for result in results:
            delivery, one = self.owed[result.delivery_id], self.subscriptions[result.subscription_id]
            ahead = delivery.due > now
            replay = self.replays.get(delivery.replay) if delivery.replay else None
            match result.outcome:
                case "succeeded" | "given_up":
                    self.end(delivery.id, result.reason or "succeeded")
                case _ if replay is not None and replay.cancelled:
                    self.end(delivery.id, "cancelled")
                case "retry":
                    delivery.has_failed = True
                    delivery.failures += not ahead
                    if not ahead and not one.ordered:
                        delivery.due = now + timedelta(seconds=result.delay or 0.0)
                case _:
                    delivery.attempts -= result.outcome == "unsent"
                    if not one.ordered:
                        delivery.due = now
            if result.hold is not None:
                until = now + timedelta(seconds=result.hold)
                one.hold_until = until if one.hold_until is None else max(until, one.hold_until)
            one.may_catch_up = one.may_catch_up or result.outcome == "succeeded"
            if result.host_failed is False:
                self._reached(result.host_id)
        for subscription_id in {result.subscription_id for result in results}:
            of_one = [result for result in results if result.subscription_id == subscription_id]
            self._count_failures(self.subscriptions[subscription_id], of_one, now)

    def _reached(self, host: int) -> None:
        for one in self.subscriptions.values():
            if one.host == host:
                one.may_catch_up = True
                if one.ordered:
                    one.hold_until = None

    def _count_failures(self, one: Subscription, results: list[Result], now: datetime) -> None:
        last = max((n for n, each in enumerate(results) if each.outcome == "succeeded"), default=None)
        tail = results if last is None else results[last + 1 :]
        failed = sum(each.outcome in ("retry", "given_up") for each in tail)
        gone = any(each.reason == "gone" for each in results)
        failing = bool(failed) and last is None and one.failing_since is not None
        since = one.failing_since
        one.failure_count = failed + (one.failure_count if last is None else 0)
        if last is not None:
            one.failing_since = now if failed else None
        elif failed and one.failing_since is None:
            one.failing_since = now
        one_too_long = failing and since is not None and since <= now - self.disable_after
        if one.active and (gone or one_too_long):
            one.active = False
            one.revision += 1
            self.written_anew(one)

    disable_after: timedelta = timedelta(seconds=600)

    def end(self, delivery_id: UUID, how: str) -> None:
        """A delivery is not owed any more."""
        self.ended[delivery_id] = (self.owed.pop(delivery_id), how)

    def observed(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check that just what is owed is there, leased by whom it should be, and due when it should be."""
        there = {row["id"]: row for row in rows}
        assert set(there) == set(self.owed), "what is owed is not what should be"
        leased = self.leased()
        for id_, row in there.items():
            one = self.owed[id_]
            assert row["lease"] == leased.get(id_)
            assert (row["attempt"], row["failures"]) == (one.attempts, one.failures)
            assert row["due"] <= one.due + ROUNDED, "due later than it was"
            one.due = row["due"]


def covers(patterns: Iterable[str], type_: str) -> bool:
    """Return whether one of the patterns is for a type."""
    return any(
        pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        for pattern in patterns
    )
