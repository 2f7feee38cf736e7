"""Rules: publishing in every way, and routing by both routers of two daemons."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import trio
from asyncpg import QueryCanceledError
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from daemon.signing.canonical import event_body
from daemon.store.database import DatabaseUnavailable, RetryTransaction
from daemon.store.events import NewEvent, Once, OtherRequest
from daemon.store.routing import RoundRequest
from tests.support.meddled_database import Meddling, Pause
from tests.support.queue_lab import STATEMENTS
from tests.support.queue_machine.base import NEVER, ORGS, TYPES, WHO, Machine, Round
from tests.support.queue_model import Event
from tests.support.queue_steps import Routed
from tests.support.queue_tables import OBSERVED_DELIVERIES

ORG, TYPE, NUMBER = st.sampled_from(ORGS), st.sampled_from(TYPES), st.integers(0, 9)
AFTER = st.sampled_from([0, 0, 0, 7, 90])
KEY = st.sampled_from([None, None, None, "one", "two"])
LARGE = 70_000
"""Bytes that a claim leaves out."""
DAY = timedelta(days=1)
ROOMS = st.sampled_from([0, 0, 3, 40])
KINDS: dict[str, Any] = {
    "bulk": st.booleans(),
    "events": st.sampled_from([1, 2, 40, 200]),
    "deliveries": st.sampled_from([1, 2, 150]),
    "room": ROOMS,
}


class EventRules(Machine):
    """What publishers do, and what routers make of it."""

    # -- publishing ---------------------------------------------------------------------------------------

    @rule(org=ORG, type_=TYPE, number=NUMBER, wrong=st.integers(0, 9), after=AFTER, key=KEY)
    def publish_in_sql(
        self, org: UUID, type_: str, number: int, wrong: int, after: int, key: str | None
    ) -> None:
        """Publish as a publisher's transaction does, now and then what no body can hold."""
        text = '{"n": 1e-400}' if wrong == 0 else f'{{"n": {number}}}'
        moment = self.now + timedelta(seconds=after) if after else None
        arguments = (org, type_, text, key, moment)
        id_: UUID = self.do(self.stage.session.fetchval, STATEMENTS["publish"], *arguments)
        self.stage.driven["publish"] += 1
        if self.take_key(org, key, id_):
            self.published(id_, org, type_, None if wrong == 0 else {"n": number}, moment)

    @rule(org=ORG, type_=TYPE, number=NUMBER, count=st.integers(1, 4))
    def publish_batch_in_sql(self, org: UUID, type_: str, number: int, count: int) -> None:
        texts = [f'{{"n": {(number + more) % 10}}}' for more in range(count)]
        ids = self.do(
            self.stage.session.fetchval, "select hookd.publish_batch($1, $2, $3)", org, [type_] * count, texts
        )
        for more, id_ in enumerate(ids):
            self.published(id_, org, type_, {"n": (number + more) % 10}, None)

    @precondition(lambda self: not self.pending)
    @rule(org=ORG, type_=TYPE, number=NUMBER)
    def begin_a_transaction(self, org: UUID, type_: str, number: int) -> None:
        """Publish in a transaction that goes on: what is committed late may lie below others."""
        self.do(self.stage.publisher.begin)
        id_ = self.do(
            self.stage.publisher.fetchval,
            "select hookd.publish($1, $2, $3::text::jsonb)",
            org,
            type_,
            f'{{"n": {number}}}',
        )
        self.pending = [(id_, org, type_, {"n": number})]

    @precondition(lambda self: self.pending)
    @rule(commit=st.sampled_from([True, True, False]))
    def end_the_transaction(self, commit: bool) -> None:
        self.do(self.stage.publisher.commit if commit else self.stage.publisher.rollback)
        for id_, org, type_, data in self.pending if commit else []:
            self.published(id_, org, type_, data, None, late=True)
        self.pending = []

    @rule(
        who=WHO,
        org=ORG,
        type_=TYPE,
        number=NUMBER,
        count=st.integers(1, 4),
        after=AFTER,
        key=KEY,
        large=st.integers(0, 9),
    )
    def publish_through_the_api(
        self,
        who: int,
        org: UUID,
        type_: str,
        number: int,
        count: int,
        after: int,
        key: str | None,
        large: int,
    ) -> None:
        moment = self.now + timedelta(seconds=after) if after else None
        events = self.new_events(org, type_, number, count, moment, key, large == 0)
        ids = self.do(self.daemon(who).publish, events)
        for (event, data), id_ in zip(zip(events, self.data_of(events), strict=True), ids, strict=True):
            if self.take_key(org, event.key, id_):
                assert id_ == event.id
                self.published(id_, org, type_, data, moment)

    @rule(who=WHO, org=ORG, type_=TYPE, request=st.sampled_from(["r", "s"]), other=st.integers(0, 3))
    def publish_once(self, who: int, org: UUID, type_: str, request: str, other: int) -> None:
        """Repeat a request, or use its key for another one."""
        events = self.new_events(org, type_, 3, 2, None, None, False)
        known, at = self.requests.get((org, request), (None, self.now))
        if self.now - at >= DAY:
            known = None
        once = Once(org, request, b"another" if other == 0 and known else b"the same")
        try:
            ids = self.do(self.daemon(who).publish, events, once=once)
        except OtherRequest:
            assert known is not None and other == 0
            return
        assert not (known and other == 0)
        if known is not None:
            assert ids == known
            return
        self.requests[org, request] = ids, self.now
        for id_, data in zip(ids, self.data_of(events), strict=True):
            self.published(id_, org, type_, data, None)

    def new_events(
        self, org: UUID, type_: str, number: int, count: int, after: Any, key: str | None, large: bool
    ) -> list[NewEvent]:
        """Return events with bodies, of which the first has the key."""
        ids = self.fetchval("select hookd.uuid7_row(hookd.clock(), $1)", count)
        pad = {"pad": "x" * LARGE} if large else {}
        bodies = [event_body(id_, type_, {"n": (number + k) % 10, **pad}) for k, id_ in enumerate(ids)]
        keys = [key, *[None] * (count - 1)]
        return [
            NewEvent(id_, org, type_, body, own, after)
            for id_, body, own in zip(ids, bodies, keys, strict=True)
        ]

    def data_of(self, events: list[NewEvent]) -> list[Any]:
        """Return the data that is in the bodies of events."""
        return [_data(event.body) for event in events]

    def take_key(self, org: UUID, key: str | None, id_: UUID) -> bool:
        """Return whether an event was published, and not one with the same key before."""
        if key is None:
            return True
        before, at = self.keys.get((org, key), (None, self.now))
        if before is not None and self.now - at < DAY:
            assert id_ == before, "the same key again gives the first event"
            return False
        self.keys[org, key] = (id_, self.now)
        return True

    def published(
        self, id_: UUID, org: UUID, type_: str, data: Any, after: Any, *, late: bool = False
    ) -> None:
        """Note an event; data of None has no body."""
        self.number += 1
        body = None if data is None else event_body(id_, type_, data)
        self.model.published(Event(id_, org, type_, data, body, after, None if late else self.number))

    # -- routing ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.inbox)
    @rule(who=WHO, fault=st.sampled_from([None] * 6 + ["refused", "lost", "lost later"]), **KINDS)
    def route(self, who: int, fault: str | None, bulk: bool, events: int, deliveries: int, room: int) -> None:
        """Make a round of routing, which claims what it routed, or whose statements fail or go unheard."""
        if who in self.rounds:
            return
        self.make_round(who, fault, bulk=bulk, events=events, deliveries=deliveries, room=room)

    def make_round(
        self, who: int, fault: str | None, *, bulk: bool, events: int, deliveries: int, room: int
    ) -> Routed | None:
        """Make a round; return what it told, None if it failed."""
        request = RoundRequest(bulk, events, deliveries, self.claim_request(who, room, 8))
        daemon = self.daemon(who, meddling(fault))
        found = None
        try:
            found = self.do(daemon.route, request)
        except (TimeoutError, DatabaseUnavailable, RetryTransaction):
            assert fault is not None
        self.take_round(who, request, found, fault=fault)
        return found

    @precondition(lambda self: self.model.inbox and len(self.rounds) < len(self.stage.daemons))
    @rule(who=WHO, **KINDS)
    def begin_a_round(self, who: int, bulk: bool, events: int, deliveries: int, room: int) -> None:
        """Begin a round that writes bodies, and hold it up before it goes on to write the deliveries."""
        if who in self.rounds:
            return
        request = RoundRequest(bulk, events, deliveries, self.claim_request(who, room, 8))
        pause = Pause("route")
        one = Round(request, pause, trio.CancelScope(), trio.Event())
        daemon = self.daemon(who, Meddling(pause=pause))

        async def run() -> None:
            with one.scope:
                try:
                    one.routed = await daemon.route(request)
                except RetryTransaction as error:
                    one.failure = error
            one.done.set()
            pause.stopped.set()

        async def begin() -> None:
            self.stage.nursery.start_soon(run)
            await pause.stopped.wait()

        self.do(begin)
        if one.done.is_set():
            self.take_round(who, request, one.routed, fault=None)
        else:
            self.rounds[who] = one

    @precondition(lambda self: self.rounds)
    @rule(who=WHO)
    def end_a_round(self, who: int) -> None:
        """Let it go on."""
        one = self.rounds.pop(who, None)
        if one is None:
            return

        async def end() -> None:
            one.pause.go_on()
            await one.done.wait()

        self.do(end)
        self.take_round(who, one.request, one.routed, fault=None)

    def take_round(self, who: int, request: RoundRequest, found: Routed | None, *, fault: str | None) -> None:
        """Compare what a round made with the model, and take over what it claimed."""
        rows = self.fetch(OBSERVED_DELIVERIES + " order by d.id")
        new = self.model.made(rows)
        never = [row for row in self.fetch(NEVER) if row["id"] not in self.never]
        self.never.update(row["id"] for row in never)
        # What was found out of failing filters counts, whatever the round did.
        for row in self.fetch("select id, filter_problem, revision from hookd.subscription"):
            one = self.model.subscriptions[row["id"]]
            if row["filter_problem"] is not None and not one.blocked:
                assert one.planted, "a filter was blocked that does not fail"
                one.blocked = True
                one.revision += 1
            assert row["revision"] == one.revision
        inbox = {row[0] for row in self.fetch("select event_id from hookd.inbox")}
        self.model.routed(
            inbox, new, [(row["event_id"], row["subscription_id"], row["ended"]) for row in never]
        )
        if found is not None and fault is None:
            assert len(new) + len(never) <= request.deliveries
            hosts = {self.model.subscriptions[one.subscription].host for one in new}
            assert hosts <= set(found.done.hosts), "a round did not name all hosts that have something to do"
        if found is not None and found.taken is not None:
            self.take_claim(who, request.claim, found.taken, lone=True)
        elif fault is not None or (found is not None and found.done.in_doubt):
            self.give_back(who, request.claim)

    # -- at the end ---------------------------------------------------------------------------------------

    def cut_short(self) -> None:
        """Leave nothing under way, whatever becomes of it."""
        for one in self.rounds.values():
            trio.from_thread.run_sync(one.scope.cancel)
            trio.from_thread.run(one.done.wait)
        if self.pending:
            trio.from_thread.run(self.stage.publisher.rollback)

    def end_what_was_begun(self) -> None:
        """End transactions and rounds that are under way."""
        if self.pending:
            self.end_the_transaction(True)
        for who in list(self.rounds):
            self.end_a_round(who)

    def abandon(self, who: int) -> None:
        """Cut a round short, as the end of its daemon does."""
        one = self.rounds.pop(who, None)
        if one is None:
            return

        async def cut() -> None:
            one.scope.cancel()
            await one.done.wait()

        with suppress(trio.Cancelled):
            self.do(cut)
        self.take_round(who, one.request, None, fault="cut")


def meddling(fault: str | None) -> Meddling:
    """Return what has a round fail: refused at first, or done and the answer lost."""
    match fault:
        case "refused":
            return Meddling(
                refused={"route_ready": QueryCanceledError("canceling statement due to user request")}
            )
        case "lost":
            return Meddling(lost="route_ready")
        case "lost later":
            return Meddling(lost="route")
        case _:
            return Meddling()


def _data(body: str) -> Any:
    return json.loads(body)["data"]
