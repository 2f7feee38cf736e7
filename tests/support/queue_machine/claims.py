"""Rules: claims of two daemons, what comes of requests, leases that end, and what the history keeps."""

from collections import Counter
from random import Random
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from daemon.model import LaneEffect, Outcome
from daemon.store.database import DatabaseUnavailable
from daemon.store.history import AttemptFilter, CannotRedeliver, CannotRetry
from daemon.store.queue import ClaimRequest, Shares
from daemon.store.results import Held, Result
from tests.support.meddled_database import Meddling
from tests.support.queue_lab import result
from tests.support.queue_machine.base import ORGS, SEEDS, WHO, Machine
from tests.support.queue_machine.subscriptions import signing
from tests.support.queue_model import ROUNDED, Delivery, Subscription
from tests.support.queue_steps import Taken
from tests.support.queue_tables import OBSERVED_HOSTS

OUTCOMES = [
    "ok",
    "ok",
    "ok",
    "busy",
    "hold",
    "slow",
    "unreachable",
    "unreachable",
    "404",
    "gone",
    "lost",
    "unsent",
]
LARGEST = 65_536
"""Bytes of a body that a claim brings along."""


class ClaimRules(Machine):
    """Claiming and recording."""

    @precondition(lambda self: self.model.owed)
    @rule(
        who=WHO,
        room=st.sampled_from([1, 2, 3, 8, 500]),
        probe_room=st.sampled_from([0, 1, 500, 500]),
        lease=st.sampled_from([10, 60]),
        full=st.sampled_from([(), (), (), (ORGS[0],)]),
        most=st.sampled_from([None, None, 1, 2]),
        lost=st.integers(0, 9),
    )
    def claim(
        self,
        who: int,
        room: int,
        probe_room: int,
        lease: float,
        full: tuple[UUID, ...],
        most: int | None,
        lost: int,
    ) -> None:
        request = self.claim_request(who, room, probe_room, lease, shares=Shares(full, most))
        self.take(who, request, is_lost=lost == 0)

    def take(self, who: int, request: ClaimRequest, *, is_lost: bool = False) -> Taken | None:
        """Claim, check what comes of it, and take it over."""
        before = {row["id"]: row for row in self.fetch(OBSERVED_HOSTS)}
        daemon = self.daemon(who, Meddling(lost="claim_both") if is_lost else None)
        try:
            claim = self.do(daemon.claim, request)
        except (TimeoutError, DatabaseUnavailable):
            assert is_lost
            self.give_back(who, request)
            return None
        self.take_claim(who, request, claim, lone=False)
        self._check_hosts(before, claim.deliveries)
        return claim

    def take_claim(self, who: int, request: ClaimRequest, claim: Taken, *, lone: bool) -> None:
        """Check a claim against what was asked for, and take it over."""
        got = claim.deliveries
        proven = [one for one in got if one.token == request.tokens[0]]
        probes = [one for one in got if one.token == request.tokens[1]]
        assert len(proven) + len(probes) == len(got) <= request.slots
        assert len(probes) <= request.probe_slots
        for kind, shares in ((proven, request.shares), (probes, request.probe_shares)):
            of_org = Counter(one.org_id for one in kind)
            assert not set(of_org) & set(shares.full), "an organisation that has its share got more"
            assert shares.most is None or all(count <= shares.most for count in of_org.values())
        self.model.claimed(got, who, self.now, request.lease)
        targets = {one.subscription_id: one for one in claim.targets}
        for one in {each.subscription_id for each in got}:
            self._check_target(self.model.subscriptions[one], targets[one])
        for held in got:
            body = self.model.events[held.event_id].body
            assert body is not None
            if len(body) > LARGEST:
                assert held.body is None
                assert self.do(self.stage.daemons[who].body_of, held) == body
            else:
                assert held.body == body

    def _check_target(self, one: Subscription, target: Any) -> None:
        assert (target.org_id, target.url, target.revision) == (one.org, one.url, one.revision)
        assert target.retry_schedule == one.schedule
        assert [sealed.decode() for sealed in target.secrets] == signing(one, self.now)
        ends = [end for _, end in one.secrets if end is not None and end > self.now]
        assert target.secrets_until == min(ends, default=None)

    def _check_hosts(self, before: dict[int, Any], got: list[Any]) -> None:
        """Check what a claim may take of each host, by what was there before it."""
        for row in self.fetch(OBSERVED_HOSTS):
            mine = [one for one in got if one.host_id == row["id"]]
            if not mine:
                continue
            assert row["in_flight"] <= row["max_in_flight"], "more under way than the host's limit"
            if before[row["id"]]["open"]:
                assert (len(mine), row["in_flight"]) == (1, 1), "a half-open circuit lets one request through"
            if row["owner"] is None:
                free = before[row["id"]]["max_in_flight"] - before[row["id"]]["in_flight"]
                orgs = Counter(self.model.subscriptions[one.subscription_id].org for one in mine)
                assert max(orgs.values()) <= (free + 1) // 2, "an organisation took more than its share"

    def give_back(self, who: int, request: ClaimRequest) -> None:
        """Take over what a claim leased whose answer was lost, for a result 'unsent'."""
        for token in request.tokens:
            held = self.do(self.stage.daemons[who].leased, token)
            self.model.found(held, who, self.now, request.lease)

    # -- results ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.leases)
    @rule(who=WHO, seed=SEEDS)
    def record(self, who: int, seed: int) -> None:
        """Record some results of a daemon, from one or more of its leases, and some that come too late."""
        leases = self.leases_of(who)
        if not leases:
            return
        chance = Random(seed)
        held = [one for lease in chance.sample(leases, min(len(leases), 2)) for one in lease.left.values()]
        held = held[: chance.randint(1, len(held))]
        late = self.model.late[:2] if chance.random() < 0.5 else []
        stale = [result(one, chance.choice(["succeeded", "retry"]), delay=1.0) for one in late]
        self.settle(who, [self.judge(chance, one) for one in held], stale)

    def settle(self, who: int, results: list[Result], stale: list[Result]) -> None:
        """Record results, of which `stale` ones must not count, and compare what becomes of each."""
        done = self.drop_from_leases(results)
        counted = self.do(self.daemon(who).record, [*results, *stale], done)
        assert counted == [True] * len(results) + [False] * len(stale)
        before = {one.delivery_id: self.model.owed[one.delivery_id] for one in results}
        due = {id_: one.due for id_, one in before.items()}
        self.model.recorded(results, self.now)
        written = {row["delivery_id"]: row for row in self.new_attempts()}
        for one in results:
            self._check_attempt(one, before[one.delivery_id], due[one.delivery_id], written)
        kept = {one.delivery_id for one in results} & set(self.model.owed)
        for row in self.fetch("select id, due from hookd.delivery where id = any($1)", list(kept)):
            assert abs(row["due"] - self.model.owed[row["id"]].due) <= ROUNDED, "due at another time"

    def drop_from_leases(self, results: list[Result]) -> list[UUID]:
        """Drop what is recorded from the leases; return the tokens of those with nothing left."""
        done = []
        for one in results:
            lease = self.model.leases[one.token]
            del lease.left[one.delivery_id]
            if not lease.left:
                del self.model.leases[one.token]
                done.append(one.token)
        return done

    def _check_attempt(self, one: Result, delivery: Delivery, due: Any, written: dict[UUID, Any]) -> None:
        ended = self.model.ended.get(delivery.id)
        how = None if ended is None else ended[1]
        row = written.get(delivery.id)
        if one.outcome == "unsent" and how is None:
            assert row is None, "an attempt that was not made is in the history"
            return
        assert row is not None, "an attempt is missing in the history"
        assert (row["subscription_id"], row["event_id"]) == (one.subscription_id, one.event_id)
        assert (row["event_type"], row["succeeded"]) == (one.event_type, one.outcome == "succeeded")
        assert (row["ended"], row["response_status"], row["excerpt"]) == (how, one.status, one.excerpt)
        assert (row["note"], row["response_headers"]) == (one.note, one.headers)
        if one.outcome != "unsent":
            assert (row["attempt"], row["error"]) == (one.attempt, one.error)
            assert row["duration_ms"] == one.duration
        if one.outcome == "retry" and how is None:
            ahead = due > self.now
            next_at = due if ahead else None
            assert next_at is None or abs(row["next_attempt_at"] - next_at) <= ROUNDED

    def judge(self, chance: Random, held: Held) -> Result:
        """Return what becomes of a request, as the subscription's own schedule or one of ours has it."""
        one, delivery = self.model.subscriptions[held.subscription_id], self.model.owed[held.delivery_id]
        kind = chance.choice(OUTCOMES)
        delay: float | None = chance.choice([0.0, 3.0, 40.0])
        if kind in ("busy", "hold", "slow", "unreachable", "404"):
            if one.schedule is not None:
                over = delivery.failures >= len(one.schedule)
                delay = None if over else one.schedule[delivery.failures]
            else:
                over = chance.random() < 0.1
            common = {"note": chance.choice([None, "chunked"]), "headers": chance.choice([None, "a: b"])}
            if over:
                return result(held, "given_up", reason="exhausted", **FAILURES[kind], **common)
            return result(held, "retry", delay=delay, **FAILURES[kind], **common)
        match kind:
            case "ok":
                excerpt, status = chance.choice([("", 200), ("fine", 202)])
                return result(held, excerpt=excerpt, status=status, duration=chance.choice([1.0, 2.5]))
            case "gone":
                return result(
                    held,
                    "given_up",
                    reason="gone",
                    lane=LaneEffect.ANSWERED_WELL,
                    host_failed=False,
                    status=410,
                )
            case "lost":
                return held.result(Outcome.INTERRUPTED, "interrupted", started=self.now.timestamp())
            case _:
                return held.result(Outcome.UNSENT)

    @precondition(lambda self: self.model.leases)
    @rule(who=WHO)
    def sweep(self, who: int) -> None:
        """Make due again what leases past their end hold, whosever they were."""
        held, tokens = self.do(self.daemon(who).expired)
        ended = {token for token, one in self.model.leases.items() if one.until <= self.now}
        assert {one.token for one in held} <= ended
        if len(ended) <= 20:
            assert {(one.token, one.delivery_id) for one in held} == {
                (token, delivery) for token in ended for delivery in self.model.leases[token].left
            }
        if not tokens:
            return
        self.model.late.extend(held)
        results = [
            one.result(Outcome.INTERRUPTED, "interrupted", started=self.now.timestamp()) for one in held
        ]
        self.drop_from_leases(results)
        assert all(self.do(self.daemon(who).record, results, tokens))
        self.model.recorded(results, self.now)
        self.new_attempts()

    # -- what owners do about deliveries ------------------------------------------------------------------

    @precondition(lambda self: self.model.owed or self.model.ended)
    @rule(who=WHO, seed=SEEDS, now=st.booleans())
    def ask_again(self, who: int, seed: int, now: bool) -> None:
        """Retry a delivery now, or have its event delivered once more."""
        id_ = self.one_of(seed, sorted([*self.model.owed, *self.model.ended]))
        assert id_ is not None
        (self.retry_now if now else self.redeliver)(who, id_)

    def retry_now(self, who: int, id_: UUID) -> None:
        """Make a delivery due, if it is owed and not under way."""
        delivery = self.model.owed.get(id_) or self.model.ended[id_][0]
        one = self.model.subscriptions[delivery.subscription]
        try:
            assert self.do(self.daemon(who).history.retry_now, one.org, one.id, id_)
        except CannotRetry as error:
            expected = "ended" if id_ in self.model.ended else "sending"
            assert error.reason == expected  # noqa: PT017
            assert id_ not in self.model.owed or id_ in self.model.leased()
            return
        assert id_ in self.model.owed and id_ not in self.model.leased()
        delivery.due = min(delivery.due, self.now)
        if delivery.due > self.now:
            delivery.rank = None
        if one.ordered and delivery.failures:
            one.hold_until = None

    def redeliver(self, who: int, id_: UUID) -> None:
        """Owe the event of a delivery once more."""
        delivery = self.model.owed.get(id_) or self.model.ended[id_][0]
        one = self.model.subscriptions[delivery.subscription]
        try:
            made = self.do(self.daemon(who).history.redeliver, one.org, one.id, id_)
        except CannotRedeliver as error:
            assert error.reason == "expired"  # noqa: PT017
            assert delivery.event not in self.model.events
            return
        (new,) = self.new_deliveries()
        assert (new.id, new.event, new.subscription) == (made, delivery.event, one.id)
        assert new.due <= self.now

    def read_the_history(self, who: int, seed: int, limit: int) -> None:
        """Compare what is owed, and every attempt, page by page."""
        one = self.pick(seed)
        if one is None:
            return
        history = self.daemon(who).history
        listed: list[tuple[UUID, bool]] = []
        after = None
        while True:
            page = self.do(history.pending, one.org, one.id, None, limit=limit, after=after)
            assert page is not None
            listed += [(owed.id, owed.leased) for owed in page.pending]
            if (after := page.after) is None:
                break
        leased = self.model.leased()
        mine = {id_: id_ in leased for id_, each in self.model.owed.items() if each.subscription == one.id}
        assert dict(listed) == mine and len(listed) == len(mine)
        attempts: list[UUID] = []
        below = None
        while True:
            part = self.do(history.attempts, one.org, one.id, AttemptFilter(), limit=limit, below=below)
            assert part is not None
            attempts += [attempt.id for attempt in part.attempts]
            if (below := part.below) is None:
                break
        rows = self.fetch("select id from hookd.attempt where subscription_id = $1 order by id desc", one.id)
        assert attempts == [row["id"] for row in rows]
        for id_ in mine:
            found = self.do(history.delivery, one.org, one.id, id_)
            assert found is not None and found.state is not None
            assert found.state.leased == mine[id_]


FAILURES: dict[str, dict[str, Any]] = {
    "busy": {"lane": LaneEffect.ANSWERED_BADLY, "host_failed": False, "status": 500, "excerpt": "oh"},
    "hold": {"lane": LaneEffect.ANSWERED_BADLY, "host_failed": False, "status": 429, "hold": 25.0},
    "slow": {"lane": LaneEffect.UNANSWERED, "host_failed": False, "error": "timeout", "duration": 1500.0},
    "unreachable": {"host_failed": True, "error": "connect_refused", "duration": 1200.0},
    "404": {"lane": LaneEffect.ANSWERED_WELL, "host_failed": False, "status": 404},
}
