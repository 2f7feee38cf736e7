"""Rules: replays are asked for, fed, read and cancelled."""

from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from daemon.store.replays import Selection, TooManyReplays
from tests.support.queue_lab import NOON
from tests.support.queue_machine.base import SEEDS, WHO, Machine
from tests.support.queue_model import Event, Replay, Subscription, covers

BEGINNING, END = NOON - timedelta(days=10), NOON + timedelta(days=1000)
MOST_RUNNING = 3
RATE = st.sampled_from([0.5, 50.0])


class ReplayRules(Machine):
    """What was sent is sent once more."""

    @precondition(lambda self: self.model.events)
    @rule(
        who=WHO,
        seed=SEEDS,
        only_failed=st.booleans(),
        patterns=st.sampled_from([None, None, ("placement.*",), ("match.proposed",)]),
        until=st.sampled_from(["all", "now"]),
    )
    def ask_for_a_replay(
        self, who: int, seed: int, only_failed: bool, patterns: tuple[str, ...] | None, until: str
    ) -> None:
        one = self.pick(seed)
        if one is None:
            return
        end = END if until == "all" else self.now
        selection = Selection(BEGINNING, end, only_failed, patterns)
        replays = self.daemon(who).replays
        count = self.do(replays.count, org_id=one.org, subscription_id=one.id, selection=selection)
        may, must = self.selected(one, end, patterns)
        assert count <= len(may)
        assert only_failed or count >= len(must), "a replay leaves events out"
        id_ = self.fetchval("select hookd.uuid7(hookd.clock())")
        try:
            made = self.do(
                replays.ask, replay_id=id_, org_id=one.org, subscription_id=one.id, selection=selection
            )
        except TooManyReplays:
            assert len(self.running(one)) == MOST_RUNNING
            return
        if made.total:
            assert len(self.running(one)) <= MOST_RUNNING
        assert made.total == count
        self.model.replays[id_] = Replay(id_, one.id, made.total, may)

    def running(self, one: Subscription) -> list[UUID]:
        """Return the replays of a subscription that run."""
        rows = self.fetch("select id from hookd.replay where subscription_id = $1 and ended is null", one.id)
        return [row["id"] for row in rows]

    def selected(
        self, one: Subscription, end: datetime, patterns: tuple[str, ...] | None
    ) -> tuple[set[UUID], set[UUID]]:
        """Return the events that a replay may send, and those of them that it must, if it sends all."""
        if one.blocked:
            return set(), set()

        def fits(event: Event) -> bool:
            return (
                event.org == one.org
                and covers(one.patterns, event.type)
                and (patterns is None or covers(patterns, event.type))
                and not event.unrepresentable
                and (one.filter is None or one.filter.passes(event.data))
                and event.at < end
            )

        may = {event.id for event in self.model.events.values() if fits(event)}
        owed = {each.event for each in self.model.owed.values() if each.subscription == one.id}
        return may, {id_ for id_ in may if id_ not in self.model.inbox and id_ not in owed}

    @precondition(lambda self: self.model.replays)
    @rule(who=WHO, rate=RATE, forgotten=st.booleans())
    def feed(self, who: int, rate: float, forgotten: bool) -> None:
        self.feed_replays(who, rate, forgotten=forgotten)

    def feed_replays(self, who: int, rate: float, *, forgotten: bool = False) -> bool:
        """Make deliveries of what runs; tell whether any runs on."""
        last = {} if forgotten else self.fed_to[who]
        feeding = self.do(self.daemon(who).feed, rate, last)
        self.fed_to[who] = {**last, **feeding.last}
        new = self.new_deliveries()
        assert len(new) == feeding.made
        for delivery in new:
            assert delivery.replay is not None
            replay = self.model.replays[delivery.replay]
            assert not replay.cancelled
            assert delivery.event in replay.events, "a replay sends what it was not asked for"
            assert delivery.event not in replay.made, "a replay sends an event twice"
            replay.made.add(delivery.event)
        return feeding.running

    @precondition(lambda self: self.model.replays)
    @rule(who=WHO, seed=SEEDS)
    def cancel_a_replay(self, who: int, seed: int) -> None:
        replay = self.one_of(seed, list(self.model.replays.values()))
        assert replay is not None
        one = self.model.subscriptions[replay.subscription]
        found = self.do(self.daemon(who).replays.cancel, one.org, one.id, replay.id)
        assert found is not None
        replay.cancelled = found.status == "cancelled"
        mine = [each for each in self.model.owed.values() if each.replay == replay.id]
        if not replay.cancelled:
            assert not mine and found.status == "done"
        leased = self.model.leased()
        for delivery in mine:
            if delivery.id not in leased:
                self.model.end(delivery.id, "cancelled")
        self.new_attempts()

    def read_replays(self, who: int) -> None:
        """Compare how far replays are."""
        for one in self.model.subscriptions.values():
            page = self.do(self.daemon(who).replays.page, one.org, one.id, limit=100, before=None)
            mine = {each.id: each for each in self.model.replays.values() if each.subscription == one.id}
            assert {found.id for found in page} == set(mine)
            for found in page:
                assert found == self.do(self.daemon(who).replays.get, one.org, one.id, found.id)
                assert found.queued == len(mine[found.id].made)
                assert found.queued + found.skipped <= found.total
                assert (found.status == "cancelled") == mine[found.id].cancelled
                assert found.status == "running" or found.queued + found.skipped == found.total
