"""Rules: time, daemons that come and die, upkeep; and the end, when all that is owed must have gone out."""

import sys
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.errors import StopTest
from hypothesis.stateful import precondition, rule

from tests.support.queue_lab import result
from tests.support.queue_machine.base import ORGS, SEEDS, WHO
from tests.support.queue_machine.claims import ClaimRules
from tests.support.queue_machine.events import EventRules
from tests.support.queue_machine.replays import ReplayRules
from tests.support.queue_machine.subscriptions import SubscriptionRules
from tests.support.queue_tables import OBSERVED_DELIVERIES, OBSERVED_HOSTS

DAY, WEEK = 86_400.0, 7 * 86_400.0
BACK = 3 * 3600.0


class Queue(SubscriptionRules, EventRules, ClaimRules, ReplayRules):
    """Everything that can happen to the queue, in any order."""

    # -- time and daemons ---------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 0.3, 1.1, 2.0, 10.0, 10.0, 61.0, 700.0]))
    def advance(self, seconds: float) -> None:
        self.move_clock(seconds)

    def attend(self, who: int) -> None:
        """Say that a daemon lives."""
        self.do(self.daemon(who).attend, self.ids[who])

    @rule(who=WHO, leaves=st.booleans())
    def die(self, who: int, leaves: bool) -> None:
        """End a daemon: what it holds waits for the end of its leases. Another one takes its place."""
        self.abandon(who)
        for lease in self.leases_of(who):
            lease.daemon = None
        if leaves:
            self.do(self.daemon(who).leave, self.ids[who])
        self.ids[who] = self.random_id()
        self.fed_to[who] = {}
        self.do(self.daemon(who).attend, self.ids[who])

    @rule(
        who=WHO,
        seed=SEEDS,
        what=st.sampled_from(
            ["poll", "repair", "floors", "tidy", "endpoint", "subscriptions", "history", "replays"]
        ),
    )
    def look(self, who: int, seed: int, what: str) -> None:
        """Look around, which finds all as it should be."""
        match what:
            case "poll":
                self.poll(who)
            case "repair":
                assert self.do(self.daemon(who).repair) == (0, 0), "the safety net had something to do"
            case "floors":
                below = self.do(self.daemon(who).look_below_floors)
                assert below == 0, "an event lay where no router looks"
            case "tidy":
                self.tidy(who)
            case "endpoint":
                self.test_an_endpoint(who, seed, 1 + seed % 3)
            case "subscriptions":
                self.list_them(who, ORGS[seed % 3], 1 + seed % 2 * 99)
            case "history":
                self.read_the_history(who, seed, 1 + seed % 3 * 33)
            case _:
                self.read_replays(who)

    def poll(self, who: int) -> None:
        """Look as a daemon at rest does."""
        inbox, due = self.do(self.daemon(who).poll)
        assert inbox == bool(self.model.inbox)
        moments = [row[at] for row in self.fetch(OBSERVED_HOSTS) for at in ("ready_at", "probe_at")]
        assert due == any(at is not None and at <= self.now for at in moments)

    @precondition(lambda self: not self.pending and not self.rounds)
    @rule(who=WHO, what=st.sampled_from(["nothing", "back", "retain", "a week"]))
    def leap(self, who: int, what: str) -> None:
        """Let much time pass, or the clock be set back."""
        match what:
            case "back":
                self.set_the_clock_back(who)
            case "retain" | "a week":
                self.retain(who, leap=what == "a week")

    def set_the_clock_back(self, who: int) -> None:
        """Let Postgres' clock be set back, and follow it."""
        self.do(self.daemon(who).see_clock)
        before = self.now
        for bucket in self.model.buckets.values():
            bucket.refill(before)
        self.move_clock(-BACK)
        assert self.do(self.daemon(who).see_clock)
        half = self.now + (before - self.now) / 2
        step = before - self.now

        def back(moment: datetime | None) -> datetime | None:
            return moment - step if moment is not None and moment > half else moment

        for lease in self.model.leases.values():
            lease.until = self.stored_end(lease.token)
        for bucket in self.model.buckets.values():
            bucket.at = min(bucket.at, self.now)
        for one in self.model.subscriptions.values():
            one.hold_until = back(one.hold_until)
            if one.failing_since is not None and one.failing_since > self.now:
                one.failing_since = self.fetchval(
                    "select failing_since from hookd.lane where subscription_id = $1", one.id
                )
                assert one.failing_since <= self.now
            if one.bucket is not None:
                one.bucket.tokens, one.bucket.at = one.bucket.burst, self.now

    def stored_end(self, token: Any) -> datetime:
        """Return until when a lease is held."""
        until: datetime = self.fetchval("select until from hookd.lease where token = $1", token)
        assert until <= self.now + timedelta(seconds=60), "a lease would outlast what it is for"
        return until

    @rule(who=WHO, seed=SEEDS, rounds=st.integers(1, 3), all_well=st.booleans())
    def work(self, who: int, seed: int, rounds: int, all_well: bool) -> None:
        """Do what a daemon does all the time: both kinds of rounds, claims and results."""
        if who in self.rounds:
            return
        for bulk in (False, True):
            self.make_round(who, None, bulk=bulk, events=40, deliveries=150, room=8)
        for _ in range(rounds):
            self.take(who, self.claim_request(who, 40, 40))
            if all_well:
                held = [one for lease in self.leases_of(who) for one in lease.left.values()]
                self.succeed(who, held)
            else:
                self.record(who, seed)

    # -- upkeep -------------------------------------------------------------------------------------------

    def tidy(self, who: int) -> None:
        """Drop what is kept for a while."""
        self.do(self.daemon(who).tidy)
        self.do(self.daemon(who).purge)
        self.do(self.daemon(who).drop_cancelled)
        self.attend(who)
        self.do(self.daemon(who).wake_listeners)

    def retain(self, who: int, *, leap: bool) -> None:
        """Drop events of a while ago; what they owe is given up first, and said so."""
        if leap:
            self.move_clock(WEEK)
        expired, _ = self.do(self.daemon(who).retain, DAY, self.now)
        rows = self.fetch(OBSERVED_DELIVERIES)
        leased = self.model.leased()
        gone = set(self.model.owed) - {row["id"] for row in rows}
        for id_ in gone:
            event = self.model.events[self.model.owed[id_].event]
            assert event.at < self.now - timedelta(days=1), "what is not old was given up"
            assert id_ not in leased
            self.model.end(id_, "expired")
        assert len(gone) <= expired, "given up without a word"  # and what deleted subscriptions left
        kept = {row[0] for row in self.fetch("select id from hookd.event")}
        for id_ in set(self.model.events) - kept:
            event = self.model.events.pop(id_)
            assert event.at < self.now - timedelta(days=1), "an event was dropped that is not old"
            assert id_ not in self.model.inbox
            assert not any(one.event == id_ for one in self.model.owed.values()), "an event is owed and gone"
        self.new_attempts()

    # -- the end ------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """End what is under way, and the history, unless it has ended already with something wrong."""
        failure = sys.exc_info()[1]
        if self.begun and failure is None:
            try:
                self.let_all_go_well()
            except AssertionError as error:
                failure = error
        self.cut_short()
        if failure is not None:
            # Hypothesis ends a history that has become too long with one of its own, too: nothing is wrong.
            if not isinstance(failure, StopTest):
                self.stage.failure = self.stage.failure or failure
            raise failure

    def let_all_go_well(self) -> None:
        """Following nothing but what claims say, everything that is owed is delivered now."""
        self.end_what_was_begun()
        for one in list(self.model.subscriptions.values()):
            if not one.active:
                self.set_active(0, one, True)
        self.route_all()
        for lease in list(self.model.leases.values()):
            if lease.daemon is not None:
                self.succeed(lease.daemon, list(lease.left.values()))
        while self.model.leases:
            self.advance(61.0)
            self.sweep(0)
        self.drain()
        assert not self.model.owed, f"{len(self.model.owed)} deliveries sleep for ever"
        self.nothing_is_lost_or_asleep()
        self.read_replays(0)
        self.check_ends()

    def route_all(self) -> None:
        """Route as both routers do until nothing is left, and no longer than that should take."""
        rounds = 0
        while self.model.inbox:
            for bulk in (False, True):
                self.make_round(rounds % 2, None, bulk=bulk, events=40, deliveries=2, room=0)
            self.advance(0.3)
            rounds += 1
            assert rounds < 300, f"{len(self.model.inbox)} events are never routed"

    def drain(self) -> None:
        """Claim until nothing is owed and no replay runs."""
        for turn in range(3000):
            running = self.feed_replays(turn % 2, 1000.0)
            waits: list[float | None] = []
            taken = False
            for who in (0, 1):
                claim = self.take(who, self.claim_request(who, 500, 500))
                assert claim is not None
                waits.append(claim.next_due)
                if claim.deliveries:
                    taken = True
                    self.succeed(who, claim.deliveries)
            known = [wait for wait in waits if wait is not None]
            if taken:
                continue
            if not known and not running:
                return
            self.advance(max(min(known, default=1.0), 0.0) + 0.001)
            self.attend(turn % 2)

    def succeed(self, who: int, held: Any) -> None:
        """Record that all went well."""
        self.settle(who, [result(one) for one in held], [])

    def check_ends(self) -> None:
        """Check that each delivery ended once in the history, and as it did."""
        rows = self.fetch(
            "select delivery_id, count(ended) as ends, max(ended) as ended from hookd.attempt group by 1"
        )
        found = {row["delivery_id"]: row for row in rows}
        for id_, (_, how) in self.model.ended.items():
            assert (found[id_]["ends"], found[id_]["ended"]) == (1, how), "a delivery ended otherwise"
